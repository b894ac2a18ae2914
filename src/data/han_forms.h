// Which ideographs are written differently in traditional and simplified Chinese, by ICU's tables.
#pragma once

namespace puyu {

bool is_traditional(char32_t c);  // has another, simplified form
bool is_simplified(char32_t c);   // has another, traditional form

}  // namespace puyu
