import { groupInteger } from "./amount.ts";

const SCALES = [
  { at: 1e15, letter: "P" },
  { at: 1e12, letter: "T" },
  { at: 1e9, letter: "G" },
  { at: 1e6, letter: "M" },
] as const;

/** A whole number: `4 812`, from a million on `1.31 M`. */
export function formatCount(value: number | bigint): string {
  const number = Number(value);
  const scale = SCALES.find(({ at }) => Math.abs(number) >= at);
  if (scale !== undefined) return `${threeDigits(number / scale.at)} ${scale.letter}`;
  return groupInteger(Math.trunc(number).toString());
}

/** Three digits that matter: `6.21`, `18.4`, `212`. */
export function threeDigits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** Parts per million as percent, exactly: 250 000 → `25 %`. */
export function formatPpm(ppm: number): string {
  const whole = Math.floor(ppm / 10_000);
  const rest = (ppm % 10_000).toString().padStart(4, "0").replace(/0+$/, "");
  return `${whole}${rest === "" ? "" : `.${rest}`} %`;
}

/** A measured share, cut to two digits: `99.98 %`. Never rounded up: nothing is perfect that is not. */
export function formatMeasured(ppm: number): string {
  return formatPpm(Math.floor(ppm / 100) * 100);
}

/** How many times faster than real time: `3.1 ×`. */
export function formatTimes(value: number): string {
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ×`;
}

/** A short time: `6 ms`, `1.24 s`. */
export function formatMs(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1_000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms >= 10 || Number.isInteger(ms) ? ms.toFixed(0) : ms.toFixed(1)} ms`;
}

/** Bytes in units of 1024: `512 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : threeDigits(value)} ${units[unit] ?? "B"}`;
}
