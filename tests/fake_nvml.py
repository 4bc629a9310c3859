"""A module in place of pynvml."""

from __future__ import annotations

from types import ModuleType

BUSY, POWER, HOT = 0x0, 0x4, 0x20 | 0x1


class FakeNvml(ModuleType):
    """Two GPUs, of which the second reports no energy. A reading of the state is the next of `states`, in a circle."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
    UUIDS = ("GPU-a", "GPU-b")

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.states = [(1000, 300, BUSY), (1980, 600_000, POWER), (1500, 700_000, HOT)]  # SM clock, mW, reasons
        self.joules = 10
        self.at = -1

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index >= len(self.UUIDS):
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        return self.UUIDS.index(uuid)

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return 12080

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return 700_000

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        self.at += 1
        self.joules += 250
        if handle == 1:
            raise self.NVMLError("Not Supported")
        return 1000 * self.joules

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:
        return self.states[self.at % len(self.states)][0] if kind == self.NVML_CLOCK_SM else 2619

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return self.states[self.at % len(self.states)][1]

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 40 + self.at % len(self.states)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        return self.states[self.at % len(self.states)][2]
