#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/rng.h"
#include "base/utf8.h"

namespace puyu {
namespace {

std::string json_error(std::string_view text) {
  try {
    Json::parse(text, "request");
  } catch (const Error& e) { return e.what(); }
  return "";
}

TEST(Json, KeepsTypesOrderAndText) {
  const std::string text =
      R"({"b":[1,-2,2.5,1e+300],"a":{"文":"书生·浦语","t":true,"f":false,"n":null},"e":[],"o":{},"s":"q\"\\/\n\u0001"})";
  Json j = Json::parse(text);
  EXPECT_EQ(j.as_object()[0].first, "b");
  EXPECT_TRUE(j.at("b").as_array()[0].is_int());
  EXPECT_FALSE(j.at("b").as_array()[2].is_int());
  EXPECT_EQ(j.at("a").at("文").as_string(), "书生·浦语");
  EXPECT_EQ(j.dump(), text);
  EXPECT_EQ(Json::parse(j.dump(2)), j);
}

TEST(Json, RefusesWhatTheGrammarRefuses) {
  // RFC 8259: each of these is not a JSON text.
  const char* const kBad[] = {
      "",         " ",         "{",           "}",           "[1,]",        "[,1]",      "{\"a\"}",
      "{\"a\":}", "{a:1}",     "{\"a\":1,}",  "[1 2]",       "1 2",         "01",        "-",
      "-01",      "1.",        ".5",          "1e",          "1e+",         "+1",        "0x10",
      "NaN",      "Infinity",  "nul",         "truee",       "'a'",         "\"a",       "\"\\",
      "\"\\x\"",  "\"\\u12\"", "\"\\u12g4\"", "\"\\u-123\"", "\"\\u+123\"", "[\"a\":1]", "\"\t\"",
      "\"\n\"",   "/**/1",     "[1]//"};
  for (const char* s : kBad) EXPECT_NE(json_error(s), "") << s;
  EXPECT_NE(json_error(std::string_view("\"\0\"", 3)), "");
  EXPECT_NE(json_error(std::string_view("1\0", 2)), "");
}

TEST(Json, ErrorsSayWhere) {
  EXPECT_EQ(json_error("{\"a\": tru}"), "[json] request: byte 6: expected a value, got 'tru}'");
  EXPECT_NE(json_error("[1,").find("the end of the text"), std::string::npos);
  EXPECT_NE(json_error("{\"k\":1,\"k\":2}").find("the key 'k' occurs twice"), std::string::npos);
  // The excerpt is text that a terminal and a JSON answer can show, whatever the input held.
  EXPECT_TRUE(valid_utf8(json_error("[\xE4\xB8\xAD\xE4\xB8\xAD\xE4\xB8\xAD\xE4\xB8\xAD\xE4\xB8\xAD]")));
  EXPECT_TRUE(valid_utf8(json_error("[\xFF\xFE]")));
}

TEST(Json, DepthIsBounded) {
  auto nested = [](size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_EQ(json_error(nested(100)), "");
  EXPECT_NE(json_error(nested(200)).find("nested deeper"), std::string::npos);
  EXPECT_NE(json_error(std::string(10'000'000, '[')), "");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_NE(json_error(objects).find("nested deeper"), std::string::npos);
}

TEST(Json, Surrogates) {
  EXPECT_EQ(Json::parse(R"("\ud83d\ude00")").as_string(), "😀");
  EXPECT_EQ(Json::parse(R"("\uD83D\uDE00")").as_string(), "😀");
  // What is not a pair has no UTF-8 form: each half becomes U+FFFD and nothing after it is swallowed.
  EXPECT_EQ(Json::parse(R"("\ud83d")").as_string(), "\uFFFD");
  EXPECT_EQ(Json::parse(R"("\ude00\ud83d")").as_string(), "\uFFFD\uFFFD");
  EXPECT_EQ(Json::parse(R"("\ud83dA")").as_string(),
            "\uFFFD"
            "A");
  EXPECT_EQ(Json::parse(R"("\ud83d\u0041")").as_string(),
            "\uFFFD"
            "A");
  EXPECT_EQ(Json::parse(R"("\ud83d\ud83d\ude00")").as_string(), "\uFFFD😀");
  EXPECT_EQ(Json::parse(R"("\u0000")").as_string(), std::string(1, '\0'));
}

TEST(Json, InvalidUtf8) {
  EXPECT_NE(json_error("\"\xFF\"").find("invalid UTF-8"), std::string::npos);
  EXPECT_NE(json_error("\"\xED\xA0\x80\""), "");  // an encoded surrogate
  EXPECT_EQ(Json("a\xFF"
                 "b")
                .dump(),
            "\"a\uFFFDb\"");
}

TEST(Json, Numbers) {
  EXPECT_EQ(Json::parse("9223372036854775807").as_int(), INT64_MAX);
  EXPECT_EQ(Json::parse("-9223372036854775808").as_int(), INT64_MIN);
  EXPECT_FALSE(Json::parse("9223372036854775808").is_int());  // beyond int64: a double
  EXPECT_DOUBLE_EQ(Json::parse("9223372036854775808").as_double(), 9223372036854775808.0);
  EXPECT_THROW(Json::parse("9223372036854775808").as_int(), Error);
  EXPECT_EQ(Json::parse("3.0").as_int(), 3);
  EXPECT_THROW(Json::parse("3.5").as_int(), Error);
  EXPECT_NE(json_error("1e999").find("out of range"), std::string::npos);
  EXPECT_EQ(Json(std::numeric_limits<double>::quiet_NaN()).dump(), "null");
  EXPECT_EQ(Json(-std::numeric_limits<double>::infinity()).dump(), "null");
  Rng rng(7);
  for (int i = 0; i < 2000; ++i) {  // every finite double survives, bit for bit
    double d = std::bit_cast<double>(rng.next());
    if (!std::isfinite(d)) continue;
    EXPECT_EQ(std::bit_cast<uint64_t>(Json::parse(Json(d).dump()).as_double()), std::bit_cast<uint64_t>(d)) << d;
  }
}

TEST(Json, TypedAccessNamesTheField) {
  Json j = Json::parse(R"({"n":"x","big":5000000000,"null":null})");
  EXPECT_EQ(j.get<int64_t>("absent", 3), 3);
  EXPECT_EQ(j.get<int64_t>("null", 4), 4);
  try {
    j.get<int64_t>("n", 0);
    FAIL();
  } catch (const Error& e) { EXPECT_STREQ(e.what(), "field 'n': expected an integer, got a string"); }
  EXPECT_THROW(j.get<int>("big", 0), Error);
  EXPECT_THROW(j.at("missing"), Error);
  EXPECT_EQ(Json(3).find("x"), nullptr);
}

}  // namespace
}  // namespace puyu
