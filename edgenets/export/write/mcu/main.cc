// An example: classifies one image. Change it: a main.cc that is there is kept by the next export.
//
// With -DCHECKSUM_ONLY it needs no TensorFlow Lite Micro, and prints the checksum of the model alone:
//   c++ -std=c++17 -Wall -Werror -DCHECKSUM_ONLY main.cc model.cc && ./a.out
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "model.h"

#ifndef CHECKSUM_ONLY
#include "operators.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"
#endif

namespace {

// CRC-32 as zlib has it.
std::uint32_t Crc32(const unsigned char* data, std::size_t bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (std::size_t i = 0; i < bytes; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
    }
  }
  return ~crc;
}

#ifndef CHECKSUM_ONLY
alignas(16) std::uint8_t arena[model::kArenaBytes];

// The bytes of an RGB image, row by row, prepared as model.h says; yours come from the camera.
std::uint8_t Pixel(std::size_t index) { return static_cast<std::uint8_t>(index); }

// Prints the class of the image; returns whether the network ran.
bool Classify() {
  tflite::InitializeTarget();
  const tflite::Model* network = tflite::GetModel(model::kData);
  if (network->version() != TFLITE_SCHEMA_VERSION) {
    std::printf("the model is of another schema than TensorFlow Lite Micro\n");
    return false;
  }
  model::Operators operators;
  if (model::AddOperators(operators) != kTfLiteOk) {
    return false;
  }
  tflite::MicroInterpreter interpreter(network, operators, arena, model::kArenaBytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    std::printf("the arena is too small\n");
    return false;
  }
  model::Input* input = interpreter.typed_input_tensor<model::Input>(0);
  for (std::size_t i = 0; i < model::kInputValues; ++i) {
    input[i] = model::FromPixel(Pixel(i));
  }
  if (interpreter.Invoke() != kTfLiteOk) {
    return false;
  }
  const model::Output* scores = interpreter.typed_output_tensor<model::Output>(0);
  int best = 0;
  for (int i = 1; i < model::kClasses; ++i) {
    if (scores[i] > scores[best]) {
      best = i;
    }
  }
  std::printf("%s\n", model::kLabels[best]);
  return true;
}
#endif

}  // namespace

int main() {
  const std::uint32_t crc = Crc32(model::kData, model::kDataBytes);
  std::printf("model: %zu bytes, crc32 %08" PRIx32 "\n", model::kDataBytes, crc);
  if (crc != model::kDataCrc32) {
    std::printf("the model in flash is not the one that was exported\n");
    return 1;
  }
#ifndef CHECKSUM_ONLY
  return Classify() ? 0 : 1;
#else
  return 0;
#endif
}
