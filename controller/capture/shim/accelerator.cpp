// Interposed before libtorch: the CPU build answers "none" to both questions at compile time, and asks itself through
// the dynamic linker. Loaded first, these two answer instead.
#include <cstdint>
#include <optional>

namespace c10 {
enum class DeviceType : int8_t { CPU = 0, CUDA = 1 };
}

namespace at::accelerator {
__attribute__((visibility("default"))) std::optional<c10::DeviceType> getAccelerator(bool) {
  return c10::DeviceType::CUDA;
}
__attribute__((visibility("default"))) bool isAccelerator(c10::DeviceType type) {
  return type == c10::DeviceType::CUDA;
}
}  // namespace at::accelerator
