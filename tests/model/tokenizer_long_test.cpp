// Texts made to be slow: time must grow linearly, on a small stack. And the parts whose algorithms make it so.

#include <thread>

#include <pthread.h>

#include "check/growth.h"
#include "model/normalizer.h"
#include "tokenizer_fixture.h"

namespace rl::model::test {
namespace {

struct Adversary {
  const char* name;
  std::string unit;  // repeated
};
const std::vector<Adversary>& adversaries() {
  static const std::vector<Adversary> list = {
      {"one letter", "a"},
      {"blanks", " "},
      {"newlines", "\n"},
      {"carriage returns", "\r\n"},
      {"tabs", "\t"},
      {"emoji", "😀"},
      {"digits", "7"},
      {"apostrophes", "'"},
      {"contractions", "'s"},
      {"punctuation", "!?"},
      {"blank and letter", " a"},
      {"blank and newline", " \n"},
      {"random-looking word", "qzjxkvbwpyg"},
      {"marks in falling order", "\u0301\u0323"},
      {"one mark", "\u0301"},
      {"Hangul parts", "\u1100\u1161\u11A8"},
      {"beginnings of special tokens", "<|"},
      {"special tokens", "<|endoftext|>"},
      {"NUL", std::string(1, '\0')},
      {"not assigned", "\u0378"},
      {"Metaspace's mark", "▁"},
      {"no-break spaces", "\u00A0"},
  };
  return list;
}

std::string repeat(const std::string& unit, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

TEST(LongText, TakesLinearTime) {
  for (const std::string& name : fixture_names()) {
    ASSERT_VALUE(const Tokenizer tokenizer, load_fixture(name));
    for (const Adversary& adversary : adversaries()) {
      const std::string text = repeat(adversary.unit, std::size_t{1} << 17);
      const auto encode = [&](const std::string& part) { EXPECT_OK(tokenizer.encode(part, true)); };
      EXPECT_LT(check::growth(repeat(adversary.unit, text.size() / 16), text, encode), check::kLinearGrowth)
          << name << ", " << adversary.name;
    }
  }
}

// Long pieces through each kind of tokenizer, forth and back, on 256 KiB of stack.
TEST(LongText, NeedsLittleStack) {
  struct Task {
    std::string failure;
    static void* run(void* argument) {
      auto& task = *static_cast<Task*>(argument);
      for (const std::string& name : fixture_names()) {
        auto tokenizer = load_fixture(name);
        if (!tokenizer) return task.failure = tokenizer.error().message(), nullptr;
        for (const char* unit : {"a", " ", "\n", "😀"}) {
          const std::string text = repeat(unit, std::size_t{1} << 18);
          const auto ids = tokenizer->encode(text, false);
          if (!ids) return task.failure = ids.error().message(), nullptr;
          // A Metaspace decoder takes one blank from the beginning, whether the encoder has put it there or not.
          const std::string decoded = tokenizer->decode(*ids, false);
          if (decoded != text && " " + decoded != text) return task.failure = name + " changes " + unit, nullptr;
        }
      }
      return nullptr;
    }
  };
  Task task;
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, (kSlow ? 16 : 1) * std::size_t{256} << 10), 0);
  pthread_t thread{};
  ASSERT_EQ(pthread_create(&thread, &attributes, &Task::run, &task), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  EXPECT_EQ(task.failure, "");
}

// Several threads share one tokenizer.
TEST(LongText, IsEncodedByManyThreadsAlike) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_fixture("demo"));
  const std::string text = read_text(fixture_dir("demo") / "eval.txt").substr(0, 30000);
  ASSERT_VALUE(const std::vector<TokenId> expected, tokenizer.encode(text, true));
  std::vector<int> same(4, 0);
  std::vector<std::thread> threads;
  for (int& one : same)
    threads.emplace_back([&] {
      const auto ids = tokenizer.encode(text, true);
      one = ids && *ids == expected && tokenizer.decode(*ids, false) == text;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, std::vector<int>(4, 1));
}

// Normalisation, against properties of the forms that Unicode promises.
TEST(UnicodeForm, ComposesAndOrdersMarks) {
  const auto nfc = [](std::string_view text) { return to_unicode_form(text, UnicodeForm::nfc); };
  const auto nfd = [](std::string_view text) { return to_unicode_form(text, UnicodeForm::nfd); };
  EXPECT_EQ(nfc("plain ASCII, Latin-1: é"), "plain ASCII, Latin-1: é");
  EXPECT_EQ(nfc("cafe\u0301s"), "cafés");
  EXPECT_EQ(nfd("cafés"), "cafe\u0301s");
  EXPECT_EQ(nfc("s\u0307\u0323"), "\u1E69");  // dot below (220) comes before dot above (230)
  EXPECT_EQ(nfd("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(nfc("\u1112\u1161\u11AB\u1100\u1173\u11AF"), "한글");
  EXPECT_EQ(nfd("한글"), "\u1112\u1161\u11AB\u1100\u1173\u11AF");
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093C");        // a composition exclusion
  EXPECT_EQ(nfc("\u212B\u2126"), "\u00C5\u03A9");  // singletons
  EXPECT_EQ(to_unicode_form("ﬁ①ﷺ", UnicodeForm::nfkc), "fi1صلى الله عليه وسلم");
  EXPECT_EQ(to_unicode_form("ﬁé", UnicodeForm::nfkd), "fie\u0301");
  EXPECT_EQ(nfc(""), "");
  // A long run of marks: all of one class come first, in their order.
  const std::string marks = "a" + repeat("\u0301\u0323", 4000), ordered = nfd(marks);
  EXPECT_EQ(ordered, "a" + repeat("\u0323", 2000) + repeat("\u0301", 2000));
}

}  // namespace
}  // namespace rl::model::test
