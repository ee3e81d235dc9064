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
    """JetPack 6 on an AGX Orin: two monitors, no total, one channel not connected."""
    ina3221(root, "1-0041", 3, {"NC": ("0", "0"), "VIN_SYS_5V0": ("4992", "800"), "VDDQ_VDD2_1V8AO": ("1800", "256")})
    ina3221(root, "1-0040", 4, {"VDD_GPU_SOC": ("19000", "168"), "VDD_CPU_CV": ("19000", "-8"), "IN_NC": ("0", "0")})


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
