// The declared device under the name "cuda", for a PyTorch that was built without CUDA.
//
// A device guard keeps the current device and stream of each thread and numbers streams and events; hooks say that
// devices are there. Whatever happens on a stream is told to one Python callable, also when the autograd engine does it
// from C++ (a backward runs on the stream of its forward). Nothing computes: tensors on this device are fake.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/csrc/distributed/c10d/reducer_timer.hpp>
#include <torch/extension.h>
#include <torch/library.h>

#include <array>
#include <atomic>
#include <optional>

namespace {

namespace py = pybind11;
using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;
using c10::Stream;
using c10::StreamId;

constexpr size_t kMostDevices = 128;
int device_count = 1;
std::atomic<int64_t> next_stream{1}, next_event{1};
py::object* listener = nullptr;
thread_local DeviceIndex device_now = 0;
thread_local std::array<StreamId, kMostDevices> current_stream{};

void tell(const char* what, int64_t first, int64_t second) {
  if (listener == nullptr) return;
  py::gil_scoped_acquire hold;
  (*listener)(what, first, second);
}

struct Mark {
  int64_t number = 0;
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static Device whole(Device device) {
    return Device(DeviceType::CUDA, device.index() < 0 ? device_now : device.index());
  }
  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device device) const override {
    Device before(DeviceType::CUDA, device_now);
    setDevice(device);
    return before;
  }
  Device getDevice() const override { return Device(DeviceType::CUDA, device_now); }
  void setDevice(Device device) const override {
    if (device.index() >= 0) device_now = device.index();
  }
  void uncheckedSetDevice(Device device) const noexcept override {
    if (device.index() >= 0) device_now = device.index();
  }
  Stream getStream(Device device) const override {
    device = whole(device);
    return Stream(Stream::UNSAFE, device, current_stream[device.index()]);
  }
  Stream getDefaultStream(Device device) const override { return Stream(Stream::UNSAFE, whole(device), 0); }
  Stream getNewStream(Device device, int priority = 0) const override {
    const auto number = next_stream++;
    tell("stream", number, priority);
    return Stream(Stream::UNSAFE, whole(device), number);
  }
  Stream getStreamFromGlobalPool(Device device, bool high) const override { return getNewStream(device, high ? -1 : 0); }
  Stream exchangeStream(Stream stream) const override {
    const Device device = whole(stream.device());
    Stream before(Stream::UNSAFE, device, current_stream[device.index()]);
    current_stream[device.index()] = stream.id();
    return before;
  }
  void* getStreamNativeHandle(const Stream stream) const override { return reinterpret_cast<void*>(stream.id()); }
  DeviceIndex deviceCount() const noexcept override { return static_cast<DeviceIndex>(device_count); }
  void record(void** event, const Stream& stream, const DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) *event = new Mark;
    auto mark = static_cast<Mark*>(*event);
    mark->number = next_event++;
    tell("record", mark->number, stream.id());
  }
  void block(void* event, const Stream& stream) const override {
    if (event != nullptr) tell("wait", static_cast<Mark*>(event)->number, stream.id());
  }
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void* event, const DeviceIndex) const noexcept override { delete static_cast<Mark*>(event); }
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream& stream) const override { tell("stream_sync", stream.id(), 0); }
  void synchronizeEvent(void* event) const override {
    if (event != nullptr) tell("event_sync", static_cast<Mark*>(event)->number, 0);
  }
  void synchronizeDevice(const DeviceIndex device) const override { tell("device_sync", device, 0); }
  double elapsedTime(void*, void*, const DeviceIndex) const override { return 1.0; }
  c10::DeviceCapability getDeviceCapability(Device) const override { return c10::DeviceCapability(); }
};

struct Hooks : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  bool isAvailable() const override { return true; }
  DeviceIndex deviceCount() const override { return static_cast<DeviceIndex>(device_count); }
  DeviceIndex getCurrentDevice() const override { return device_now; }
  void setCurrentDevice(DeviceIndex device) const override { device_now = device; }
  DeviceIndex exchangeDevice(DeviceIndex device) const override {
    const auto before = device_now;
    device_now = device;
    return before;
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex device) const override { return exchangeDevice(device); }
  DeviceIndex current_device() const override { return device_now; }
  int getNumGPUs() const override { return device_count; }
  void deviceSynchronize(DeviceIndex device) const override { tell("device_sync", device, 0); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetCPUAllocator(); }
  Device getDeviceFromPtr(void*) const override { return Device(DeviceType::CUDA, device_now); }
  at::Generator getNewGenerator(DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  const at::Generator& getDefaultGenerator(DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};

void record_stream(at::Tensor& tensor, Stream stream) {
  tell("record_stream", reinterpret_cast<int64_t>(tensor.storage().unsafeGetStorageImpl()), stream.id());
}

}  // namespace

namespace c10d {
namespace {
// DDP times its reducer on the device; here it takes no time.
struct DeclaredTimer : Timer {
  explicit DeclaredTimer(c10::Device) {}
  void record(Event event) override {
    Timer::record(event);
    getTimeRef(event) = 0;
  }
  std::optional<int64_t> measureDifference(Event, Event) override { return 1; }
};
}  // namespace
C10_REGISTER_TYPED_CLASS(TimerRegistry, c10::kCUDA, DeclaredTimer)
}  // namespace c10d

TORCH_LIBRARY_IMPL(aten, CUDA, library) { library.impl("record_stream", record_stream); }

namespace at {
using DeclaredHooks = ::Hooks;
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, DeclaredHooks)
}  // namespace at

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  c10::impl::device_guard_impl_registry[static_cast<size_t>(DeviceType::CUDA)].store(new Guard());
  module.def("set_count", [](int count) { device_count = count; });
  module.def("set_listener", [](py::object heard) { listener = heard.is_none() ? nullptr : new py::object(heard); });
  module.def("current_stream", [](int device) { return static_cast<int64_t>(current_stream.at(device)); });
  module.def("current_device", []() { return static_cast<int>(device_now); });
  module.def("set_device", [](int device) { device_now = static_cast<DeviceIndex>(device); });
}
