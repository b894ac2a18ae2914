// TensorBoard event files, written by hand: TFRecord frames (length, masked CRC-32C of it, bytes, masked CRC-32C)
// around protobuf Event messages with scalar summaries. `tensorboard --logdir runs` shows them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace puyu {

uint32_t crc32c(std::string_view bytes);
std::string tfrecord(std::string_view bytes);
std::string tensorboard_header(double wall_time);  // the record an event file begins with
std::string tensorboard_scalars(double wall_time, int64_t step,
                                const std::vector<std::pair<std::string, double>>& scalars);

}  // namespace puyu
