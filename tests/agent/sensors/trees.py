"""The files of real boards' sensors, as their kernels lay them out, with what goes wrong there."""

from __future__ import annotations

from pathlib import Path


def write(root: Path, files: dict[str, str]) -> None:
    """Files below a root, each with a line end as the kernel writes it."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")


def ina3221(root: Path, address: str, hwmon: int, rails: dict[str, tuple[str, str]], **more: str) -> Path:
    """One monitor under JetPack 5 and 6: label -> millivolts and milliamperes, in the order of the channels."""
    monitor = f"sys/bus/i2c/drivers/ina3221/{address}/hwmon/hwmon{hwmon}"
    files = {"name": "ina3221", "in7_label": "sum of shunt voltages", "in7_input": "80", "update_interval": "2", **more}
    for index, (label, (millivolts, milliamperes)) in enumerate(rails.items(), 1):
        files |= {f"in{index}_label": label, f"in{index}_input": millivolts, f"curr{index}_input": milliamperes}
        files |= {f"in{index + 3}_input": "8", f"shunt{index}_resistor": "5000"}
    write(root, {f"{monitor}/{name}": content for name, content in files.items()})
    return root / monitor


def jetson_orin_nano(root: Path) -> Path:
    """JetPack 6 on an Orin Nano: one monitor, all rails and their total."""
    rails = {"VDD_IN": ("4976", "1320"), "VDD_CPU_GPU_CV": ("4976", "400"), "VDD_SOC": ("4968", "304")}
    return ina3221(root, "1-0040", 1, rails)


def agx_orin(root: Path) -> None:
    """JetPack 6 on an AGX Orin: two monitors, each with an interval of its own, no total, two channels not connected.
    The memory's rail is fed from VIN_SYS_5V0, which is measured too."""
    memory = {"NC": ("0", "0"), "VDDQ_VDD2_1V8AO": ("4968", "256"), "IN_NC": ("0", "0")}
    ina3221(root, "1-0041", 3, memory, update_interval="10")
    rails = {"VDD_GPU_SOC": ("19000", "168"), "VDD_CPU_CV": ("19000", "-8"), "VIN_SYS_5V0": ("4992", "800")}
    ina3221(root, "1-0040", 4, rails)


def jetson_nano(root: Path) -> None:
    """JetPack 4 on a Nano: the monitor through industrial I/O, and voltages beside the power."""
    device = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    for index, (rail, milliwatts) in enumerate((("POM_5V_IN", "2580"), ("POM_5V_GPU", "40"), ("POM_5V_CPU", "730"))):
        write(root, {f"{device}/rail_name_{index}": rail, f"{device}/in_power{index}_input": milliwatts,
                     f"{device}/in_voltage{index}_input": "5040"})  # fmt: skip


PI5 = """\
 3V7_WL_SW_A current(0)=0.05757768A
   3V3_SYS_A current(1)=0.06148170A
  VDD_CORE_A current(7)=6.22421000A
   3V7_WL_SW_V volt(8)=3.70300000V
   3V3_SYS_V volt(9)=3.31310100V
  VDD_CORE_V volt(15)=0.86173300V
     EXT5V_V volt(24)=5.14764000V
      BATT_V volt(25)=0.00000000V
"""


def raspberry_pi_5(root: Path) -> None:
    """The model that it names itself by; the firmware's answer is PI5."""
    write(root, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})


def x86_server(root: Path, packages: int = 1) -> None:
    """RAPL: packages with their parts, and the wraps of their counters."""
    for package in range(packages):
        zones = [(f"{package}", f"package-{package}", "262143000000"), (f"{package}:0", "core", "9000000")]
        for zone, name, used in [*zones, (f"{package}:1", "dram", "garbage")]:
            at = f"sys/class/powercap/intel-rapl:{zone}"
            write(root, {f"{at}/name": name, f"{at}/energy_uj": used, f"{at}/max_energy_range_uj": "262143328850"})
    write(root, {"sys/class/powercap/intel-rapl/enabled": "1"})


def carrier_with_ina226(root: Path) -> None:
    """INA226 monitors on a board of one's own, an amdgpu, and a chip that measures temperature alone."""
    write(root, {
        "sys/class/hwmon/hwmon5/name": "ina226", "sys/class/hwmon/hwmon5/power1_input": "1275000",
        "sys/class/hwmon/hwmon5/in1_input": "5100", "sys/class/hwmon/hwmon5/curr1_input": "250",
        "sys/class/hwmon/hwmon2/name": "ina226", "sys/class/hwmon/hwmon2/power1_input": "330000",
        "sys/class/hwmon/hwmon2/update_interval": "4",
        "sys/class/hwmon/hwmon0/name": "amdgpu", "sys/class/hwmon/hwmon0/power1_average": "35000000",
        "sys/class/hwmon/hwmon0/power1_label": "PPT",
        "sys/class/hwmon/hwmon1/name": "cpu_thermal", "sys/class/hwmon/hwmon1/temp1_input": "45000",
        "sys/class/hwmon/hwmon3/name": "amd_energy", "sys/class/hwmon/hwmon3/energy1_input": "48000000",
        "sys/class/hwmon/hwmon3/energy1_label": "Esocket0",
        "sys/class/hwmon/hwmon4/name": "ina3221", "sys/class/hwmon/hwmon4/power1_input": "1",
    })  # fmt: skip


def hwmon(root: Path, number: int, device: str, **files: str) -> Path:
    """A chip of hwmon's as the kernel has it: a directory of its device's, with a link to it by its number."""
    real = f"sys/devices/{device}/hwmon/hwmon{number}"
    write(root, {f"{real}/{name}": content for name, content in files.items()})
    (root / real / "device").symlink_to(f"../../../{device}")
    link = root / f"sys/class/hwmon/hwmon{number}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"../../devices/{device}/hwmon/hwmon{number}")
    return link


def supply_of_a_pc(root: Path) -> None:
    """A Corsair power supply: what it takes in all, and its three rails, 100 W."""
    rails = {"power total": "100000000", "power +12v": "60000000", "power +5v": "25000000", "power +3.3v": "15000000"}
    files = {"name": "corsairpsu"}
    for index, (label, microwatts) in enumerate(rails.items(), 1):
        files |= {f"power{index}_label": label, f"power{index}_input": microwatts}
    hwmon(root, 3, "0003:1B1C:1C06.0001", **files)


def tablet(root: Path, status: str = "Discharging") -> None:
    """A battery, a charger, and a USB-C port whose entry is what was negotiated."""
    supply = "sys/class/power_supply"
    write(root, {
        f"{supply}/BAT0/type": "Battery", f"{supply}/BAT0/status": status,
        f"{supply}/BAT0/voltage_now": "7600000", f"{supply}/BAT0/current_now": "-500000",
        f"{supply}/AC/type": "Mains", f"{supply}/AC/online": "0",
        f"{supply}/ucsi-source-psy-1/type": "USB", f"{supply}/ucsi-source-psy-1/voltage_now": "5000000",
        f"{supply}/ucsi-source-psy-1/current_now": "3000000",
    })  # fmt: skip
