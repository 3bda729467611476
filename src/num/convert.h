#pragma once
// Conversions between the formats of formats.h and float, and their constants.
