#pragma once
// A thin layer over SQLite's C interface: errors as Error, statements and transactions that clean up after themselves.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace rl::record {

class Database {
 public:
  // Opens or creates the file. Errors: io; timeout if another process holds its lock for longer than 10 s.
  static Result<Database> open(const std::string& file);

  Status execute(const char* sql) const;
  Error error(std::string what) const;  // of the last call that failed

  const std::string& file() const { return file_; }

 private:
  friend class Statement;
  struct Close {
    void operator()(sqlite3* db) const;
  };
  std::string file_;
  std::unique_ptr<sqlite3, Close> db_;
};

// One prepared statement, used once. Values are bound in order; what is bound must live until the last step.
class Statement {
 public:
  Statement(const Database& database, const char* sql);
  Statement& bind(std::string_view text);
  Statement& bind(std::int64_t number);

  Result<bool> step();  // true: a row is there
  Status run();         // to the end, rows ignored
  std::string text(int column) const;
  std::int64_t number(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  const Database& database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
  bool failed_ = false;
};

// Rolled back unless committed. Takes the write lock at once, so that it cannot fail half way for want of it.
class Transaction {
 public:
  static Result<Transaction> begin(const Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Status commit();

 private:
  explicit Transaction(const Database& database) : database_(&database) {}
  const Database* database_;
};

}  // namespace rl::record
