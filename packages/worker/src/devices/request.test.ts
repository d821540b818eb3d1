import { expect, test } from "vitest";
import { parseDevices } from "./request.ts";

test.each([
  ["auto", [{ kind: "auto" }]],
  ["cpu", [{ kind: "cpu" }]],
  ["nvidia", [{ kind: "nvidia", indexes: undefined }]],
  ["nvidia:0,2", [{ kind: "nvidia", indexes: [0, 2] }]],
  ["cpu,nvidia:1,3", [{ kind: "cpu" }, { kind: "nvidia", indexes: [1, 3] }]],
  ["vaapi:/dev/dri/renderD128, cpu", [{ kind: "vaapi", node: "/dev/dri/renderD128" }, { kind: "cpu" }]],
  ["qsv", [{ kind: "qsv", node: undefined }]],
  ["amf", [{ kind: "amf" }]],
])("%s asks for devices", (text, requests) => {
  expect(parseDevices(text)).toEqual(requests);
});

test.each(["", "gpu", "nvidia:", "nvidia:x", "cpu:0", "auto,cpu", "1", "vaapi:"])(
  "%j is refused with what to say instead",
  (text) => {
    expect(parseDevices(text)).toMatch(/nvidia:0,1/);
  },
);
