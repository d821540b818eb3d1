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
  readonly passwordNeeded: boolean;
}

export interface JoinCommand {
  readonly id: "run" | "systemd" | "compose" | "script";
  readonly code: string;
}

export const ADDRESS_PLACEHOLDER = "0xYOUR_ADDRESS";
export const DEFAULT_RIG_NAME = "rig1";

/**
 * The commands for a case. What was typed gets in only as a valid address and a valid rig name, and neither can hold a
 * character that a shell or YAML would read.
 */
export function joinCommands(given: JoinCase): readonly JoinCommand[] {
  const address = parseAddress(given.address.trim());
  const worker = isAddressProblem(address) ? ADDRESS_PLACEHOLDER : address;
  const rig = isRigName(given.rig) ? given.rig : DEFAULT_RIG_NAME;
  const pool = /^[\w.:[\]-]+$/.test(given.pool) ? given.pool : "POOL_HOST:8935";
  const nvidia = given.device === "nvidia";
  const secret = `${worker}.${rig}${given.passwordNeeded ? ":POOL_PASSWORD" : ""}`;
  const own = [
    `--pool ${pool}`,
    `--address ${worker}`,
    `--name ${rig}`,
    ...(given.passwordNeeded ? ["--join-password-file pool-password"] : []),
    `--devices ${nvidia ? "nvidia" : "cpu"}`,
  ];
  switch (given.software) {
    case "worker":
      return [
        { id: "run", code: lines(["npx openpool worker", ...own]) },
        {
          id: "systemd",
          code: [
            "[Unit]",
            "Description=Open Pool worker",
            "After=network-online.target",
            "Wants=network-online.target",
            "",
            "[Service]",
            "WorkingDirectory=/opt/openpool",
            `ExecStart=/usr/bin/npx openpool worker ${own.join(" ")}`,
            "Restart=always",
            "RestartSec=5",
            "# What is at work is finished first.",
            "TimeoutStopSec=60",
            "DynamicUser=yes",
            "CacheDirectory=openpool",
            "Environment=HOME=/var/cache/openpool",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
          ].join("\n"),
        },
      ];
    case "livepeer":
      return [
        {
          id: "run",
          code: lines([
            "livepeer -transcoder",
            `-orchAddr ${pool}`,
            `-orchSecret ${secret}`,
            ...(nvidia ? ["-nvidia all", "-maxSessions 8"] : ["-maxSessions 2"]),
          ]),
        },
      ];
    case "docker":
      return [
        {
          id: "run",
          code: lines([
            "docker run -d --name openpool-rig --restart unless-stopped",
            ...(nvidia ? ["--gpus all", "-e NVIDIA_DRIVER_CAPABILITIES=video,compute,utility"] : []),
            "livepeer/go-livepeer:master -transcoder",
            `-orchAddr ${pool}`,
            `-orchSecret ${secret}`,
            ...(nvidia ? ["-nvidia all", "-maxSessions 8"] : ["-maxSessions 2"]),
          ]),
        },
        {
          id: "compose",
          code: [
            "services:",
            "  rig:",
            "    image: livepeer/go-livepeer:master",
            "    restart: unless-stopped",
            "    command:",
            "      - -transcoder",
            `      - -orchAddr=${pool}`,
            `      - -orchSecret=${secret}`,
            ...(nvidia ? ["      - -nvidia=all", "      - -maxSessions=8"] : ["      - -maxSessions=2"]),
            ...(nvidia
              ? [
                  "    environment:",
                  "      NVIDIA_DRIVER_CAPABILITIES: video,compute,utility",
                  "    deploy:",
                  "      resources:",
                  "        reservations:",
                  "          devices:",
                  "            - { driver: nvidia, count: all, capabilities: [gpu, video] }",
                ]
              : []),
          ].join("\n"),
        },
      ];
    case "cloud":
      return [
        {
          id: "script",
          code: [
            "#!/bin/sh",
            "# Start-up script (user data) of a machine with Docker" +
              (nvidia ? ", NVIDIA's driver and its container toolkit." : "."),
            "# The rig is named after the machine, so one script serves many.",
            "set -eu",
            `name=$(hostname -s | tr -c 'A-Za-z0-9\\n' '-' | cut -c1-32)`,
            lines([
              "docker run -d --name openpool-rig --restart unless-stopped",
              ...(nvidia ? ["--gpus all", "-e NVIDIA_DRIVER_CAPABILITIES=video,compute,utility"] : []),
              "livepeer/go-livepeer:master -transcoder",
              `-orchAddr ${pool}`,
              `-orchSecret "${worker}.$name${given.passwordNeeded ? ":POOL_PASSWORD" : ""}"`,
              ...(nvidia ? ["-nvidia all", "-maxSessions 8"] : ["-maxSessions 2"]),
            ]),
          ].join("\n"),
        },
      ];
  }
}

/** From the rig: can it reach the pool, is the clock right. */
export function checkCommand(pool: string): string {
  return `npx openpool doctor --pool ${/^[\w.:[\]-]+$/.test(pool) ? pool : "POOL_HOST:8935"}`;
}

/** `HOST:PORT` of `https://HOST:PORT`. */
export function poolHost(serviceUri: string): string {
  return serviceUri.replace(/^https?:\/\//, "").replace(/\/$/, "");
}

function lines(parts: readonly string[]): string {
  return parts.join(" \\\n  ");
}
