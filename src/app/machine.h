#pragma once
// What commands ask of the machine: ceilings of which they show a share, and whether there is a card at all.

#include <filesystem>

#include "base/result.h"
#include "base/units.h"
#include "ops/catalog.h"

namespace rl::app {

// By the backend's probe of this name ("read_bandwidth", "pinned_copy"). Takes about half a second. Errors:
// unsupported.
Result<BytesPerSecond> bandwidth(const ops::Backend& backend, std::string_view probe);

// Whether the PCI bus has a display or 3D controller of NVIDIA's: also where no driver shows it.
bool nvidia_card_on_bus(const std::filesystem::path& devices = "/sys/bus/pci/devices");

// What to say before `--device auto` goes on with the CPU because of `why`, in one line; empty where there is no card.
std::string unused_card_line(const Error& why, bool card_on_bus);

}  // namespace rl::app
