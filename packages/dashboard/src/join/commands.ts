import { isAddressProblem, isRigName, parseAddress } from "@openpool/protocol";

/** What a reader's own case is: which software, which device, whom to pay, what the rig is called, which pool. */
export interface JoinCase {
  readonly software: "worker" | "livepeer" | "docker" | "cloud";
  readonly device: "nvidia" | "cpu";
  /** As typed; a placeholder stands in until it is an address. */
  readonly address: string;
  /** As typed; `rig1` until it is a name. */
  readonly rig: string;
  /** `HOST:PORT`. */
  readonly pool: string;
  /** Whether only a credential that the operator issued lets a rig in; otherwise it is its address. */
  readonly credential: boolean;
  /** Whether the pool's password goes with either. */
  readonly password: boolean;
  /** Where the operator says that Open Pool is cloned from; null where it says nothing. */
  readonly source: string | null;
}

export interface JoinCommand {
  readonly id: "get" | "run" | "systemd" | "image" | "compose" | "script";
  readonly code: string;
}

export const ADDRESS_PLACEHOLDER = "0xYOUR_ADDRESS";
export const CREDENTIAL_PLACEHOLDER = "op_YOUR_CREDENTIAL";
const CREDENTIAL_FILE = "rig.secret";
const PASSWORD_FILE = "pool-password";
export const DEFAULT_RIG_NAME = "rig1";

/** A name for one more machine of a worker: the first of rig1, rig2 … that none of its others has. */
export function freeRigName(taken: readonly string[]): string {
  let n = 1;
  while (taken.includes(`rig${n}`)) n++;
  return `rig${n}`;
}

/** Inside a copy its own program, outside of one nothing: npx is told to fetch none of that name from elsewhere. */
const PROGRAM = "npx --no openpool";

const STOCK_IMAGE = "livepeer/go-livepeer:master";

/** {@link JoinCase} with nothing in it that was only typed: no character here is one that a shell or YAML would read. */
interface Checked {
  readonly worker: string;
  readonly rig: string;
  readonly pool: string;
  readonly nvidia: boolean;
  readonly credential: boolean;
  readonly password: boolean;
}

/** The commands for a case, in the order in which they are needed. */
export function joinCommands(given: JoinCase): readonly JoinCommand[] {
  const address = parseAddress(given.address.trim());
  const checked: Checked = {
    worker: isAddressProblem(address) ? ADDRESS_PLACEHOLDER : address,
    rig: isRigName(given.rig) ? given.rig : DEFAULT_RIG_NAME,
    pool: hostOr(given.pool),
    nvidia: given.device === "nvidia",
    credential: given.credential,
    password: given.password,
  };
  switch (given.software) {
    case "worker":
      return ownWorker(checked, given.source);
    case "livepeer":
      return [{ id: "run", code: lines(["livepeer -transcoder", ...stockFlags(checked, secretOf(checked))]) }];
    case "docker":
      return stockInDocker(checked);
    case "cloud":
      return [{ id: "script", code: startUpScript(checked) }];
  }
}

function ownWorker(checked: Checked, source: string | null): readonly JoinCommand[] {
  const cloned = source !== null && /^https:\/\/[\w.:/~+-]+$/.test(source) ? source : undefined;
  const secrets = filesOf(checked);
  const contained = ownFlags(checked, "/run/");
  return [
    ...(cloned === undefined
      ? []
      : [{ id: "get", code: `git clone ${cloned} openpool && cd openpool && npm ci` } as const]),
    { id: "run", code: lines([`${PROGRAM} worker`, ...ownFlags(checked, "")]) },
    { id: "systemd", code: unit(ownFlags(checked, "/etc/openpool/"), secrets) },
    {
      id: "image",
      code: [
        "docker build -f deploy/Dockerfile -t openpool .",
        lines([
          "docker run -d --name openpool-rig --restart unless-stopped --stop-timeout 60",
          ...dockerDevices(checked),
          ...secrets.map((file) => `-v "$PWD/${file}:/run/${file}:ro"`),
          "openpool worker",
          ...contained,
        ]),
      ].join("\n"),
    },
    {
      id: "compose",
      code: [
        "services:",
        "  rig:",
        "    build: { context: ., dockerfile: deploy/Dockerfile }",
        "    image: openpool",
        "    restart: unless-stopped",
        "    stop_grace_period: 60s",
        ...(secrets.length === 0
          ? []
          : ["    volumes:", ...secrets.map((file) => `      - ./${file}:/run/${file}:ro`)]),
        ...composeCommand(["worker", ...contained]),
        ...composeDevices(checked),
      ].join("\n"),
    },
  ];
}

/** The flags of our worker; `dir` is where its files with secrets lie. */
function ownFlags(checked: Checked, dir: string): readonly string[] {
  const { pool, worker, rig, nvidia, credential, password } = checked;
  return [
    `--pool ${pool}`,
    ...(credential ? [`--secret-file ${dir}${CREDENTIAL_FILE}`] : [`--address ${worker}`, `--name ${rig}`]),
    ...(password ? [`--join-password-file ${dir}${PASSWORD_FILE}`] : []),
    `--devices ${nvidia ? "nvidia" : "cpu"}`,
  ];
}

/** The files with what lets our worker in. */
function filesOf({ credential, password }: Checked): readonly string[] {
  return [...(credential ? [CREDENTIAL_FILE] : []), ...(password ? [PASSWORD_FILE] : [])];
}

/** As `deploy/systemd/openpool-worker.service`, with the settings in the command. */
function unit(flags: readonly string[], secrets: readonly string[]): string {
  return [
    "# Needs a copy of Open Pool in /opt/openpool after npm ci and npm run build, and once: useradd --system openpool",
    ...secrets.map((file) => `# /etc/openpool/${file} is readable for that user.`),
    "[Unit]",
    "Description=Open Pool worker",
    "Documentation=file:///opt/openpool/README.md",
    "After=network-online.target",
    "Wants=network-online.target",
    "",
    "[Service]",
    "User=openpool",
    "Group=openpool",
    "# Graphics cards belong to these groups on most systems.",
    "SupplementaryGroups=video render",
    "CacheDirectory=openpool-worker",
    "Environment=OPENPOOL_WORK_DIR=/var/cache/openpool-worker",
    "Environment=OPENPOOL_LOG_FORMAT=json",
    `ExecStart=/usr/bin/env node /opt/openpool/packages/cli/bin/openpool.js worker ${flags.join(" ")}`,
    "# What is at work is finished first: only the worker is told to stop, and its FFmpeg is left to it.",
    "KillMode=mixed",
    "TimeoutStopSec=60",
    "Restart=always",
    "RestartSec=2s",
    "# The pool refused for good: nothing changes by asking again.",
    "RestartPreventExitStatus=2 4",
    "NoNewPrivileges=true",
    "ProtectSystem=full",
    "ProtectHome=true",
    "",
    "[Install]",
    "WantedBy=multi-user.target",
  ].join("\n");
}

/** What an unmodified transcoder shows at the door. */
function secretOf({ worker, rig, credential, password }: Checked): string {
  return `${credential ? CREDENTIAL_PLACEHOLDER : `${worker}.${rig}`}${password ? ":POOL_PASSWORD" : ""}`;
}

function stockFlags({ pool, nvidia }: Checked, secret: string): readonly string[] {
  return [
    `-orchAddr ${pool}`,
    `-orchSecret ${secret}`,
    ...(nvidia ? ["-nvidia all", "-maxSessions 8"] : ["-maxSessions 2"]),
  ];
}

function stockInDocker(checked: Checked): readonly JoinCommand[] {
  return [
    { id: "run", code: stockRun(checked, secretOf(checked)) },
    {
      id: "compose",
      code: [
        "services:",
        "  rig:",
        `    image: ${STOCK_IMAGE}`,
        "    restart: unless-stopped",
        ...composeCommand(["-transcoder", ...stockFlags(checked, secretOf(checked))]),
        ...composeDevices(checked),
      ].join("\n"),
    },
  ];
}

function stockRun(checked: Checked, secret: string): string {
  return lines([
    "docker run -d --name openpool-rig --restart unless-stopped",
    ...dockerDevices(checked),
    `${STOCK_IMAGE} -transcoder`,
    ...stockFlags(checked, secret),
  ]);
}

function startUpScript(checked: Checked): string {
  const head = [
    "#!/bin/sh",
    `# Start-up script (user data) of a machine with Docker${checked.nvidia ? ", NVIDIA's driver and its container toolkit." : "."}`,
  ];
  if (checked.credential) {
    return [
      ...head,
      "# A credential names one rig: each machine needs its own.",
      "set -eu",
      stockRun(checked, secretOf(checked)),
    ].join("\n");
  }
  return [
    ...head,
    "# The rig is named after the machine, so one script serves many.",
    "set -eu",
    `name=$(hostname -s | tr -c 'A-Za-z0-9\\n' '-' | cut -c1-32)`,
    stockRun(checked, `"${secretOf({ ...checked, rig: "$name" })}"`),
  ].join("\n");
}

function dockerDevices({ nvidia }: Checked): readonly string[] {
  return nvidia ? ["--gpus all", "-e NVIDIA_DRIVER_CAPABILITIES=video,compute,utility"] : [];
}

function composeDevices({ nvidia }: Checked): readonly string[] {
  if (!nvidia) return [];
  return [
    "    environment:",
    "      NVIDIA_DRIVER_CAPABILITIES: video,compute,utility",
    "    deploy:",
    "      resources:",
    "        reservations:",
    "          devices:",
    "            - { driver: nvidia, count: all, capabilities: [gpu, video] }",
  ];
}

/** Each flag with its value as one word. */
function composeCommand(words: readonly string[]): readonly string[] {
  return ["    command:", ...words.map((word) => `      - ${word.replace(" ", "=")}`)];
}

/** From the rig: can it reach the pool, is the clock right. */
export function checkCommand(pool: string): string {
  return `${PROGRAM} doctor --pool ${hostOr(pool)}`;
}

function hostOr(pool: string): string {
  return /^[\w.:[\]-]+$/.test(pool) ? pool : "POOL_HOST:8935";
}

/** `HOST:PORT` of `https://HOST:PORT`. */
export function poolHost(serviceUri: string): string {
  return serviceUri.replace(/^https?:\/\//, "").replace(/\/$/, "");
}

function lines(parts: readonly string[]): string {
  return parts.join(" \\\n  ");
}
