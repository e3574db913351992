#pragma once

#include <string>

namespace lenscope {

struct Kernels;

// The kernels of that name; throws std::invalid_argument where they are not compiled in or this processor lacks them.
const Kernels& kernels_of(const std::string& isa);

}  // namespace lenscope
