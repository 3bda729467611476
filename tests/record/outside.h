#pragma once
// Damage to a store from outside: SQL that Redline did not send, and flipped bits.

#include <filesystem>
#include <random>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "base/result.h"

namespace rl::record {

// A byte with one bit turned over.
inline void flip(std::string& text, std::mt19937_64& engine) {
  text[engine() % text.size()] ^= static_cast<char>(1 << (engine() % 8));
}

// SQL from outside, on a connection that does not wait for the disk.
class Outside {
 public:
  explicit Outside(const std::filesystem::path& folder) {
    RL_CHECK(sqlite3_open((folder / "redline.db").c_str(), &db_) == SQLITE_OK);
    sqlite3_exec(db_, "PRAGMA synchronous=OFF", nullptr, nullptr, nullptr);  // refused by a damaged file, which is fine
  }
  Outside(const Outside&) = delete;
  ~Outside() { sqlite3_close(db_); }

  void set(const char* table, const char* column, int row, const std::string& value) {
    const std::string sql = fmt::format("UPDATE {} SET {} = CAST(?1 AS TEXT) WHERE rowid = ?2", table, column);
    sqlite3_stmt* statement = nullptr;
    RL_CHECK(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK);
    sqlite3_bind_blob(statement, 1, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    sqlite3_bind_int(statement, 2, row);
    EXPECT_EQ(sqlite3_step(statement), SQLITE_DONE) << sqlite3_errmsg(db_);
    sqlite3_finalize(statement);
  }
  std::string get(const char* table, const char* column, int row) {
    return all(fmt::format("SELECT CAST({} AS BLOB) FROM {} WHERE rowid = {}", column, table, row)).substr(1);
  }
  // Every value of every row; empty if it cannot be read.
  std::string all(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    std::string text;
    int code = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
    if (code == SQLITE_OK)
      for (code = sqlite3_step(statement); code == SQLITE_ROW; code = sqlite3_step(statement))
        for (int column = 0; column < sqlite3_column_count(statement); ++column) {
          const auto* data = static_cast<const char*>(sqlite3_column_blob(statement, column));
          text += "|";
          text += std::string(data ? data : "", static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
        }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? text : "";
  }
  int count(const char* table) { return std::stoi(all(fmt::format("SELECT count(*) FROM {}", table)).substr(1)); }

 private:
  sqlite3* db_ = nullptr;
};

// Every text of every table.
struct Cell {
  const char *table, *column;
};
inline constexpr Cell kCells[] = {
    {"runs", "started"},     {"runs", "mode"},          {"runs", "model"},      {"runs", "device"},
    {"runs", "header"},      {"runs", "digest"},        {"experiments", "run"}, {"experiments", "id"},
    {"experiments", "body"}, {"experiments", "digest"}, {"baselines", "run"},   {"baselines", "name"},
    {"runs", "id"}};

}  // namespace rl::record
