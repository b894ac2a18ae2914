#include "text/tokenizer.h"

#include <gtest/gtest.h>

namespace puyu {
TEST(A, B) { EXPECT_THROW(Tokenizer::load("/nonexistent"), std::exception); }
}  // namespace puyu
