import { readdir } from "node:fs/promises";
import { cpus } from "node:os";
import type { EncodingPath } from "../transcode/arguments.ts";
import type { Encoders, Finding, Hardware } from "./device.ts";
import { type Trouble, troubleText } from "./explain.ts";
import type { FfmpegBuild } from "./ffmpeg-build.ts";
import { listNvidiaGpus, type NvidiaGpu } from "./nvidia-smi.ts";
import type { DeviceRequest } from "./request.ts";

/** A device before its tests: ways to use it, best first, and its own encoders. */
export interface Candidate extends Hardware {
  /** The render node behind it: two ways to use one node are one device. */
  readonly node: string | undefined;
  readonly paths: readonly Omit<EncodingPath, "encoders" | "decodes">[];
  readonly encoders: Encoders;
}

export const softwareEncoders: Encoders = { h264: "libx264", h265: "libx265", vp9: "libvpx-vp9" };
export const software = {
  frames: "software",
  wrapper: [],
  deviceArgs: [],
  decodeArgs: [],
  uploadFilter: "",
  encoderArgs: [],
} as const;

export function cpuCandidate(): Candidate {
  const list = cpus();
  return {
    id: "cpu",
    kind: "cpu",
    model: `${list[0]?.model.trim() || "processor"}, ${list.length} threads`,
    driver: undefined,
    memoryMib: undefined,
    uuid: undefined,
    node: undefined,
    paths: [software],
    encoders: softwareEncoders,
  };
}

function nvidiaCandidate({ index, uuid, name, driverVersion, memoryTotalMib }: NvidiaGpu): Candidate {
  const open = ["-init_hw_device", `cuda=gpu:${index}`, "-filter_hw_device", "gpu"];
  // CUDA numbers cards by speed unless told otherwise, nvidia-smi by slot.
  const common = { wrapper: ["env", "CUDA_DEVICE_ORDER=PCI_BUS_ID"], uploadFilter: "", encoderArgs: [] };
  const decode = [
    "-hwaccel",
    "cuda",
    "-hwaccel_device",
    "gpu",
    "-hwaccel_output_format",
    "cuda",
    "-extra_hw_frames",
    "8",
  ];
  return {
    id: `nvidia:${index}`,
    kind: "nvidia",
    model: name,
    driver: driverVersion,
    memoryMib: memoryTotalMib,
    uuid,
    node: undefined,
    paths: [
      { ...common, frames: "cuda", deviceArgs: open, decodeArgs: decode },
      { ...common, frames: "cuda-upload", deviceArgs: open, decodeArgs: [] },
      { ...common, frames: "upload", deviceArgs: [], decodeArgs: [], encoderArgs: ["-gpu", String(index)] },
    ],
    encoders: { h264: "h264_nvenc", h265: "hevc_nvenc" },
  };
}

function renderCandidate(kind: "vaapi" | "qsv", node: string): Candidate {
  const open = kind === "vaapi" ? `vaapi=hw:${node}` : `qsv=hw:hw_any,child_device=${node}`;
  const uploadFilter = kind === "vaapi" ? "format=nv12,hwupload" : "format=nv12,hwupload=extra_hw_frames=64";
  return {
    id: `${kind}:${node}`,
    kind,
    model: `${kind.toUpperCase()} on ${node}`,
    driver: undefined,
    memoryMib: undefined,
    uuid: undefined,
    node,
    paths: [
      {
        frames: "upload",
        wrapper: [],
        deviceArgs: ["-init_hw_device", open, "-filter_hw_device", "hw"],
        decodeArgs: [],
        uploadFilter,
        encoderArgs: [],
      },
    ],
    encoders: { h264: `h264_${kind}`, h265: `hevc_${kind}`, ...(kind === "vaapi" ? { vp9: "vp9_vaapi" } : {}) },
  };
}

const amfCandidate: Candidate = {
  id: "amf",
  kind: "amf",
  model: "AMD AMF",
  driver: undefined,
  memoryMib: undefined,
  uuid: undefined,
  node: undefined,
  paths: [{ ...software, frames: "upload", uploadFilter: "format=nv12" }],
  encoders: { h264: "h264_amf", h265: "hevc_amf" },
};

async function renderNodes(dir = "/dev/dri"): Promise<string[]> {
  const entries = await readdir(dir).catch(() => []);
  return entries.filter((name) => name.startsWith("renderD")).map((name) => `${dir}/${name}`);
}

/** A device that is not there at all. */
function absent(device: string, trouble: Trouble): Finding {
  const { problem, subject } = trouble;
  const test = { device, test: "find", of: null, passed: false, problem, subject: subject || null } as const;
  return { device, usable: false, text: troubleText(trouble), tests: [test] };
}

export interface Candidates {
  /** A later choice is only worth a test when no device of those before it works. */
  readonly choices: readonly (readonly Candidate[])[];
  /** Words about devices that are not there at all. */
  readonly findings: readonly Finding[];
}

/** The devices behind a request that are worth a test. */
export async function candidatesFor(
  request: DeviceRequest,
  options: { readonly nvidiaSmiPath: string; readonly driDir?: string },
  build: FfmpegBuild,
  signal: AbortSignal,
): Promise<Candidates> {
  switch (request.kind) {
    case "cpu":
      return { choices: [], findings: [] };
    case "nvidia": {
      const inventory = await listNvidiaGpus(options.nvidiaSmiPath, signal);
      if (inventory.kind === "none") return { choices: [], findings: [absent("nvidia", inventory.trouble)] };
      const wanted = request.indexes ?? inventory.gpus.map(({ index }) => index);
      const candidates: Candidate[] = [];
      const findings: Finding[] = [];
      for (const index of wanted) {
        const gpu = inventory.gpus.find((one) => one.index === index);
        if (gpu) candidates.push(nvidiaCandidate(gpu));
        else findings.push(absent(`nvidia:${index}`, { problem: "no-card", subject: String(index) }));
      }
      return { choices: [candidates], findings };
    }
    case "vaapi":
    case "qsv": {
      const nodes = request.node === undefined ? await renderNodes(options.driDir) : [request.node];
      if (nodes.length === 0) {
        return { choices: [], findings: [absent(request.kind, { problem: "no-render-node", subject: "" })] };
      }
      return { choices: [nodes.map((node) => renderCandidate(request.kind, node))], findings: [] };
    }
    case "amf":
      return { choices: [[amfCandidate]], findings: [] };
    case "auto": {
      // Each only where something speaks for it: a test of what is not there would only put words into the log.
      const nodes = await renderNodes(options.driDir);
      const nvidia = await candidatesFor({ kind: "nvidia", indexes: undefined }, options, build, signal);
      const onNodes = (["qsv", "vaapi"] as const)
        .filter((kind) => build.encoders.has(`h264_${kind}`))
        .flatMap((kind) => nodes.map((node) => renderCandidate(kind, node)));
      // AMF names no node: beside another way it could be the same card, counted twice.
      const amf = nodes.length > 0 && build.encoders.has("h264_amf") ? [amfCandidate] : [];
      return { choices: [...nvidia.choices, onNodes, amf], findings: nvidia.findings };
    }
  }
}
