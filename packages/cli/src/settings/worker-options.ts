import {
  BadValue,
  choiceValue,
  durationValue,
  formatHostPort,
  hostPortValue,
  integerValue,
  option,
  type OptionProblem,
  type OptionValues,
  pathValue,
  textValue,
  type ValueKind,
} from "@openpool/base";
import { addressValue, poolOptions } from "@openpool/pool";
import { DEFAULT_RIG, formatRig, isRigName } from "@openpool/protocol";
import { parseDevices, parseFingerprint, parsePoolAddress, type WorkerOptions } from "@openpool/worker";

const rigNameValue: ValueKind<string> = {
  placeholder: "NAME",
  allowed: "1 to 32 letters, digits, `-` or `_`, starting with a letter or digit",
  parse: (text) =>
    isRigName(text) ? text : new BadValue("is not 1 to 32 letters, digits, - or _ that start with a letter or digit"),
  format: (value) => value,
};

const poolAddressValue: ValueKind<string> = {
  placeholder: "HOST:PORT",
  allowed: "`HOST:PORT`; without a port 8935",
  parse(text) {
    const address = parsePoolAddress(text);
    return address ? formatHostPort(address) : new BadValue("is not HOST:PORT");
  },
  format: (value) => value,
};

const certificateHashValue: ValueKind<string> = {
  placeholder: "HEX",
  allowed: "64 hex digits, colons allowed",
  parse(text) {
    return parseFingerprint(text) ?? new BadValue("is not a SHA-256 hash: 64 hex digits");
  },
  format: (value) => value,
};

const devicesValue: ValueKind<string> = {
  placeholder: "cpu|nvidia:0,1|auto",
  allowed: "`auto`, `cpu`, or a list such as `nvidia:0,1`, `vaapi:/dev/dri/renderD128`",
  parse(text) {
    const requests = parseDevices(text);
    return typeof requests === "string" ? new BadValue(`is not usable: ${requests}`) : text;
  },
  format: (value) => value,
};

/** Every setting of `openpool worker`. */
export const workerOptions = {
  pool: option({
    name: "pool",
    kind: poolAddressValue,
    defaultNote: "none: it must be given",
    help: "the pool to work for",
    group: "Worker",
  }),
  address: option({
    name: "address",
    kind: addressValue,
    defaultNote: "none: give this or a secret file",
    help: "your payout address; no key is ever needed",
    group: "Worker",
  }),
  name: option({
    name: "name",
    kind: rigNameValue,
    default: DEFAULT_RIG,
    help: "the name of this machine, to tell your rigs apart",
    group: "Worker",
  }),
  secretFile: option({
    name: "secret-file",
    kind: pathValue("FILE"),
    defaultNote: "none",
    help: "a file with the secret that the pool's operator issued, in place of address and name",
    group: "Worker",
  }),
  joinPasswordFile: option({
    name: "join-password-file",
    kind: pathValue("FILE"),
    defaultNote: "no password",
    help: "a file with the pool's password, where it has one",
    group: "Worker",
  }),
  poolCert: option({
    name: "pool-cert-sha256",
    kind: certificateHashValue,
    defaultNote: "any certificate is accepted, as stock nodes do it",
    help: "only talk to a pool whose certificate has this SHA-256 hash",
    group: "Worker",
  }),
  devices: option({
    name: "devices",
    kind: devicesValue,
    default: "auto",
    help: "what transcodes",
    details:
      "`auto` takes every NVIDIA card that passes a test encode, without one every other accelerator that does, and otherwise the processor. A device that is named and fails its test is an error.",
    group: "Transcoding",
  }),
  maxSessions: option({
    name: "max-sessions",
    kind: integerValue("N", { min: 1, max: 10_000 }),
    defaultNote: "measured at start",
    help: "streams taken at once",
    details: "Without it a short benchmark finds out how many this machine carries in real time.",
    group: "Transcoding",
  }),
  ffmpeg: option({
    name: "ffmpeg",
    kind: textValue("PROGRAM", "a path, or a name to be found on the PATH"),
    default: "ffmpeg",
    help: "the FFmpeg to use, 4.4 or newer",
    group: "Transcoding",
  }),
  transcodeTimeout: option({
    name: "transcode-timeout",
    kind: durationValue({ minMs: 1_000 }),
    defaultNote: "what the pool waits: four times the segment's duration, at least 8 s",
    help: "an FFmpeg that takes longer for one segment is stopped",
    group: "Transcoding",
  }),
  workDir: option({
    name: "work-dir",
    kind: pathValue("DIR"),
    defaultNote: "a directory of this rig in the system's temporary directory",
    help: "where temporary files lie; one worker per directory",
    group: "Transcoding",
  }),
  statusListen: option({
    name: "status-listen",
    kind: hostPortValue({ anyHost: "0.0.0.0", minPort: 0 }),
    defaultNote: "none",
    help: "where GET /status answers in JSON",
    group: "Transcoding",
  }),
  logLevel: option({
    name: "log-level",
    kind: choiceValue(["debug", "info", "warn", "error"]),
    default: "info",
    help: "how much is logged: debug (a line a segment), info (a line a change of state), warn, error",
    group: "Logs",
  }),
  logFormat: poolOptions.logFormat,
} as const;

export interface WorkerSurroundings {
  /** What the secret file and the password file hold. */
  readonly secret: string | undefined;
  readonly joinPassword: string | undefined;
  readonly tempDir: string;
}

/** What a worker is told, from its settings. */
export function toWorkerOptions(
  values: OptionValues<typeof workerOptions>,
  surroundings: WorkerSurroundings,
): WorkerOptions | { readonly problems: readonly OptionProblem[] } {
  const problems: OptionProblem[] = [];
  if (values.pool === undefined) {
    problems.push({ where: "--pool", problem: "is missing: which pool to work for, as HOST:PORT" });
  }
  let secret = surroundings.secret;
  let label = "issued";
  if (values.address !== undefined) {
    if (secret !== undefined) {
      problems.push({ where: "--address", problem: "says who you are, and so does --secret-file: give one of them" });
    }
    const rig = { worker: values.address, rig: values.name };
    const password = surroundings.joinPassword;
    secret = password === undefined ? formatRig(rig) : `${formatRig(rig)}:${password}`;
    label = formatRig(rig);
  } else if (secret === undefined) {
    problems.push({
      where: "--address",
      problem: "is missing: the address that is paid, 0x… (or --secret-file with a secret that the pool issued)",
    });
  } else if (surroundings.joinPassword !== undefined) {
    secret = `${secret}:${surroundings.joinPassword}`;
  }
  if (problems.length > 0 || values.pool === undefined || secret === undefined) return { problems };
  return {
    pool: values.pool,
    secret,
    maxSessions: values.maxSessions,
    devices: values.devices,
    ffmpegPath: values.ffmpeg,
    workDir:
      values.workDir ?? `${surroundings.tempDir}/openpool-worker-${label}-${values.pool.replaceAll(/[^\w.-]/g, "_")}`,
    poolCertSha256: values.poolCert,
    statusListen: values.statusListen,
    transcodeTimeoutMs: values.transcodeTimeout,
  };
}
