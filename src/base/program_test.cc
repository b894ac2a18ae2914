#include "base/program.h"

#include <gtest/gtest.h>

namespace puyu {
namespace {

TEST(Program, InputOutputStatusAndComplaint) {
  const std::string big(3 << 20, 'x');  // more than a pipe holds, both ways
  ProgramResult r = run_program({"cat"}, big);
  EXPECT_EQ(r.status, 0);
  EXPECT_EQ(r.out, big);
  r = run_program({"sh", "-c", "printf out; echo 'what is wrong' >&2; exit 3"});
  EXPECT_EQ(r.status, 3);
  EXPECT_EQ(r.out, "out");
  EXPECT_EQ(r.complaint, "what is wrong");
  EXPECT_EQ(run_program({"sh", "-c", "kill -9 $$"}).status, 128 + 9);
  EXPECT_EQ(run_program({"/nowhere/no-such-program"}).status, 127);
  EXPECT_EQ(run_program({"printf", "%s", "$HOME `x` 'y'"}).out, "$HOME `x` 'y'");  // no shell looks at it
}

TEST(Program, IsEndedWhenItIsNotWaitedFor) {
  std::string out;
  Program p({"sh", "-c", "echo here; exec sleep 1000"});
  while (out != "here\n" && p.read(out)) {}
  EXPECT_EQ(out, "here\n");  // its end takes no thousand seconds
}

}  // namespace
}  // namespace puyu
