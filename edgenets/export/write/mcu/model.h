// $name for TensorFlow Lite Micro, by edgenets $version. Do not change: export again.
//
// Arena: $arena
// Image: RGB, 8 bits; $preparation.
#ifndef EDGENETS_MODEL_H_
#define EDGENETS_MODEL_H_

#include <cstddef>
#include <cstdint>

namespace model {

// The model, as a flatbuffer, 16-byte aligned: model.tflite without what TFLM does not read$tables.
extern const unsigned char kData[];
constexpr std::size_t kDataBytes = $flash_bytes;
constexpr std::uint32_t kDataCrc32 = 0x$crc32;

// What the interpreter works in, alignas(16).
constexpr std::size_t kArenaBytes = $arena_bytes;
constexpr bool kArenaIsEstimate = $is_estimate;

// Input: [1, $height, $width, 3], $input_dtype$input_scale.
using Input = $input_type;
constexpr int kInputHeight = $height;
constexpr int kInputWidth = $width;
constexpr std::size_t kInputValues = std::size_t{3} * kInputHeight * kInputWidth;
inline Input FromPixel(std::uint8_t pixel) { return static_cast<Input>($from_pixel); }

// Output: [1, $classes], $output_dtype$output_scale.
using Output = $output_type;
${output_grid}constexpr int kClasses = $classes;
extern const char* const kLabels[];

}  // namespace model

#endif  // EDGENETS_MODEL_H_
