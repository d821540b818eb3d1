import type { WindowName } from "@openpool/protocol";

/** The time spans that every chart and every table of sums offers. */
export const WINDOWS: readonly WindowName[] = ["1h", "24h", "7d", "30d"];
export const DEFAULT_WINDOW: WindowName = "24h";
