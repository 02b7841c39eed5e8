// The operators of $name for TensorFlow Lite Micro, by edgenets $version. Do not change: export again.
#ifndef EDGENETS_OPERATORS_H_
#define EDGENETS_OPERATORS_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace model {

using Operators = tflite::MicroMutableOpResolver<$count>;

inline TfLiteStatus AddOperators(Operators& operators) {
$calls
  return kTfLiteOk;
}

}  // namespace model

#endif  // EDGENETS_OPERATORS_H_
