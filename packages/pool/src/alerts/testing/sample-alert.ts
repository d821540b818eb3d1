import type { Alert } from "../types.ts";

/** An alert of no rig in particular, and the links of its message. */
export const alert: Alert = {
  key: "rig-offline 0xA.rig  1 raised",
  kind: "rig-offline",
  phase: "raised",
  worker: null,
  rig: null,
  threshold: null,
  atMs: Date.parse("2026-01-01T00:00:00Z"),
  data: {},
};
export const publicUrl = "https://pool.example.com";
export const links = { unsubscribeUrl: `${publicUrl}/v1/alerts/unsubscribe?token=${"x".repeat(80)}` };
