#include <filesystem>
#include <fstream>

#include <sys/stat.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/units.h"
#include "check/result.h"

namespace rl {
namespace {

namespace fs = std::filesystem;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = (fs::temp_directory_path() / "redline_test.XXXXXX").string();
    RL_CHECK(::mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

Result<int> half(int n) {
  if (n % 2 != 0) return Error{.kind = ErrorKind::invalid_input, .what = "odd"};
  return n / 2;
}
Result<int> quarter(int n) {
  RL_ASSIGN(const int h, half(n));
  RL_ASSIGN(const int q, half(h));
  return q;
}

TEST(Result, AssignPassesValuesAndErrorsOn) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).error().what, "odd");
  EXPECT_FALSE(quarter(7));
}

TEST(Error, MessageShowsWhatWhereExpectedFoundAndWhatToDo) {
  const Error error{.kind = ErrorKind::invalid_input,
                    .what = "bad header",
                    .rule = "safetensors.header_length",
                    .file = "m.safetensors",
                    .field = "N",
                    .offset = 0,
                    .expected = "at most 10",
                    .found = "11",
                    .hint = "download it again"};
  EXPECT_EQ(error.message(),
            "bad header\n  where:    m.safetensors, field 'N', byte 0\n  expected: at most 10\n  found:    11\n"
            "  rule:     safetensors.header_length\n  to do:    download it again");
}

TEST(Checked, ProductsRefuseOverflowAlsoBesideAZero) {
  EXPECT_EQ(checked_mul(1LL << 31, 1LL << 31), 1LL << 62);
  EXPECT_FALSE(checked_mul(1LL << 32, 1LL << 31));
  const std::int64_t hidden[] = {1LL << 62, 4, 0}, plain[] = {0, 5}, none[] = {2, 3, 4};
  EXPECT_FALSE(checked_product(hidden));
  EXPECT_EQ(checked_product(plain), 0);
  EXPECT_EQ(checked_product(none), 24);
}

TEST(Units, TextHasThreeSignificantDigits) {
  EXPECT_EQ(format_bytes({14'696'792}), "14.7 MB");
  EXPECT_EQ(format_binary_bytes({3LL << 29}), "1.50 GiB");
  EXPECT_EQ(format_bytes({999}), "999 B");
  EXPECT_EQ(format_bytes({999'999}), "1.00 MB");
  EXPECT_EQ(format_seconds({0.000183}), "183 us");
  EXPECT_EQ(format_seconds({90}), "1.50 min");
  EXPECT_EQ(format_rate({3.09e12}), "3.09 TB/s");
  EXPECT_EQ(format_significant(0.09996), "0.100");
  EXPECT_EQ(format_significant(12345), "12345");
  EXPECT_EQ(format_significant(0), "0");
}

TEST(Units, SizesAreReadWithTheirUnit) {
  const std::pair<const char*, std::int64_t> kGood[] = {
      {"32GiB", 34359738368},  {"24 GB", 24000000000}, {"1.5MiB", 1572864}, {"7kB", 7000}, {"7KiB", 7168},
      {"2TiB", 2199023255552}, {"4096", 4096},         {"4096 B", 4096},    {"0", 0},      {"0.5 GB", 500000000}};
  for (const auto& [text, bytes] : kGood) {
    ASSERT_VALUE(const Bytes read, parse_bytes(text));
    EXPECT_EQ(read.count, bytes) << text;
  }
  for (const char* text : {"", "GiB", "32G", "32 gib", "-1GiB", "1e3MB", "12 monkeys", "1GiB ", "9000000TiB", "nan"}) {
    const auto read = parse_bytes(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().kind, ErrorKind::usage);
  }
}

TEST(JsonString, EscapesAndReplacesWhatIsNotUtf8) {
  EXPECT_EQ(json_string("a\"b\\c\n\x01"), "\"a\\\"b\\\\c\\n\\u0001\"");
  EXPECT_EQ(json_string("caf\xC3\xA9 \xF0\x9F\x9A\x80"), "\"caf\xC3\xA9 \xF0\x9F\x9A\x80\"");
  const std::string replacement = "\xEF\xBF\xBD";
  EXPECT_EQ(json_string("\xC3"), "\"" + replacement + "\"") << "cut short";
  EXPECT_EQ(json_string("\xC0\xAF"), "\"" + replacement + replacement + "\"") << "overlong";
  EXPECT_EQ(json_string("\xED\xA0\x80"), "\"" + replacement + replacement + replacement + "\"") << "surrogate";
}

TEST(File, MapsReadsAndReplaces) {
  const TemporaryFolder folder;
  ASSERT_OK(write_file_atomic(folder / "a", "first"));
  ASSERT_OK(write_file_atomic(folder / "a", "second"));
  ASSERT_VALUE(const FileView mapped, map_file(folder / "a"));
  EXPECT_EQ(mapped.text(), "second");
  ASSERT_VALUE(const FileView read, read_file(folder / "a", 6));
  EXPECT_EQ(read.text(), "second");
  EXPECT_EQ(read_file(folder / "a", 5).error().kind, ErrorKind::invalid_input);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / ""), fs::directory_iterator{}), 1)
      << "a temporary file was left";
}

TEST(File, RefusesWhatIsNotAFile) {
  const TemporaryFolder folder;
  EXPECT_EQ(map_file(folder / "absent").error().native_code, ENOENT);
  EXPECT_EQ(map_file(folder / "").error().found, "a folder");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(map_file(folder / "pipe").error().found, "a special file") << "must not wait for a writer";
  EXPECT_EQ(write_file_atomic(folder / "no/such", "x").error().native_code, ENOENT);
}

TEST(File, AnEmptyFileIsAnEmptyView) {
  const TemporaryFolder folder;
  std::ofstream(folder / "empty").close();
  ASSERT_VALUE(const FileView view, map_file(folder / "empty"));
  EXPECT_TRUE(view.bytes().empty());
}

}  // namespace
}  // namespace rl
