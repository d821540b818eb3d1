import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { checkCommand, type JoinCase, joinCommands, poolHost } from "./commands.ts";

const ada = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";
const usual: JoinCase = {
  software: "worker",
  device: "nvidia",
  address: ada.toLowerCase(),
  rig: "attic",
  pool: "pool.example:8935",
  passwordNeeded: false,
};

describe("the command to join", () => {
  test("with our worker holds the pool, the address in checksum form and the rig", () => {
    const [run] = joinCommands(usual);
    expect(run?.code.replaceAll(" \\\n  ", " ")).toBe(
      `npx openpool worker --pool pool.example:8935 --address ${ada} --name attic --devices nvidia`,
    );
  });

  test("with go-livepeer on a processor asks for no card", () => {
    const [run] = joinCommands({ ...usual, software: "livepeer", device: "cpu" });
    expect(run?.code.replaceAll(" \\\n  ", " ")).toBe(
      `livepeer -transcoder -orchAddr pool.example:8935 -orchSecret ${ada}.attic -maxSessions 2`,
    );
  });

  test("says where the pool's password goes when there is one", () => {
    expect(joinCommands({ ...usual, software: "docker", passwordNeeded: true })[0]?.code).toContain(
      `-orchSecret ${ada}.attic:POOL_PASSWORD`,
    );
    expect(joinCommands({ ...usual, passwordNeeded: true })[0]?.code).toContain("--join-password-file");
  });

  test("never holds anything typed that is no address and no name", () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string(),
        fc.constantFrom("worker" as const, "livepeer" as const, "docker" as const, "cloud" as const),
        (address, rig, software) => {
          const typed = { ...usual, software, address: `${address};reboot`, rig: `${rig} $(reboot)` };
          for (const { code } of joinCommands(typed)) {
            expect(code).not.toContain("reboot");
            expect(code).toContain("0xYOUR_ADDRESS.".slice(0, -1));
          }
        },
      ),
    );
  });
});

describe("what is pasted somewhere is read there as it is meant", () => {
  const every = (["worker", "livepeer", "docker", "cloud"] as const).flatMap((software) =>
    (["nvidia", "cpu"] as const).flatMap((device) =>
      [false, true].map((passwordNeeded) => ({ ...usual, software, device, passwordNeeded })),
    ),
  );
  const codeOf = (given: JoinCase, id: string): string => joinCommands(given).find((one) => one.id === id)?.code ?? "";
  /** What a shell makes of a command: its words. */
  const wordsOf = (command: string): string[] => {
    const { status, stdout, stderr } = spawnSync("bash", ["-c", `printf '%s\\n' ${command}`], { encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
    return stdout.trimEnd().split("\n");
  };

  test("compose files are YAML with one service, its image and its arguments", () => {
    for (const given of every.filter(({ software }) => software === "docker")) {
      const { services } = parse(codeOf(given, "compose")) as {
        services: Record<string, { image: string; restart: string; command: string[]; deploy?: unknown }>;
      };
      expect(Object.keys(services)).toEqual(["rig"]);
      const { image, restart, command, deploy } = services["rig"]!;
      expect([image, restart]).toEqual(["livepeer/go-livepeer:master", "unless-stopped"]);
      expect(command).toContain(`-orchAddr=pool.example:8935`);
      expect(command).toContain(`-orchSecret=${ada}.attic${given.passwordNeeded ? ":POOL_PASSWORD" : ""}`);
      // Every argument is one word; YAML reads none of them as a number, a list or a map.
      expect(command.every((one) => typeof one === "string" && /^-\S+$/.test(one))).toBe(true);
      expect(deploy !== undefined).toBe(given.device === "nvidia");
    }
  });

  test("a compose file says the same as the command beside it", () => {
    for (const given of every.filter(({ software }) => software === "docker")) {
      const { services } = parse(codeOf(given, "compose")) as { services: { rig: { command: string[] } } };
      const words = wordsOf(codeOf(given, "run"));
      const behind = words.slice(words.indexOf("livepeer/go-livepeer:master") + 1);
      expect(behind.join(" ")).toBe(services.rig.command.join(" ").replaceAll("=", " "));
    }
  });

  test("the unit runs what the command does, and says it as systemd reads it", () => {
    const dir = mkdtempSync(join(tmpdir(), "openpool-unit-"));
    try {
      for (const given of every.filter(({ software }) => software === "worker")) {
        const unit = codeOf(given, "systemd");
        const sections = [...unit.matchAll(/^\[(\w+)\]$/gm)].map(([, name]) => name);
        expect(sections).toEqual(["Unit", "Service", "Install"]);
        for (const line of unit.split("\n")) expect(line).toMatch(/^$|^\[\w+\]$|^#|^[A-Z]\w+=\S/);
        const started = /^ExecStart=\/usr\/bin\/(.*)$/m.exec(unit)?.[1] ?? "";
        expect(wordsOf(started)).toEqual(wordsOf(codeOf(given, "run")));
        // Where the machine has systemd its own parser is asked too, which may have more to say of the machine than of the
        // unit; the paths of a rig are not there.
        const file = join(dir, "openpool-worker.service");
        writeFileSync(
          file,
          unit
            .replace(/^ExecStart=\S+/m, "ExecStart=/bin/true")
            .replace(/^WorkingDirectory=.*$/m, "WorkingDirectory=/"),
        );
        const verified = spawnSync("systemd-analyze", ["verify", "--man=no", "--recursive-errors=no", file], {
          encoding: "utf8",
        });
        const complaints = (verified.stderr ?? "")
          .split("\n")
          .filter((line) => line.includes("openpool-worker.service"));
        expect(complaints).toEqual([]);
      }
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test("commands and start-up scripts are what a shell reads without a complaint", () => {
    for (const given of every) {
      for (const { id, code } of joinCommands(given)) {
        if (id !== "run" && id !== "script") continue;
        for (const shell of ["sh", "bash"]) {
          const { status, stderr } = spawnSync(shell, ["-n"], { input: code, encoding: "utf8" });
          expect([status, stderr], code).toEqual([0, ""]);
        }
      }
    }
  });

  test("a start-up script names the rig after its machine, whatever that is called", () => {
    const dir = mkdtempSync(join(tmpdir(), "openpool-script-"));
    try {
      for (const [machine, rig] of [
        ["gpu-07", "gpu-07"],
        ["node_1.lan (a)", "node-1-lan--a-"],
        ["x".repeat(40), "x".repeat(32)],
      ]) {
        const stub = (name: string, does: string): void =>
          writeFileSync(join(dir, name), `#!/bin/sh\n${does}\n`, { mode: 0o755 });
        stub("hostname", `echo '${machine}'`);
        stub("docker", `printf '%s\\n' "$@"`);
        const { status, stdout } = spawnSync("sh", [], {
          input: codeOf({ ...usual, software: "cloud" }, "script"),
          encoding: "utf8",
          env: { PATH: `${dir}:/usr/bin:/bin` },
        });
        expect(status).toBe(0);
        const words = stdout.split("\n");
        expect(words[words.indexOf("-orchSecret") + 1]).toBe(`${ada}.${rig}`);
      }
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

test("the pool's host is taken from its service address, and nothing else gets into a command", () => {
  expect(poolHost("https://pool.example:8935")).toBe("pool.example:8935");
  expect(checkCommand("pool.example:8935")).toBe("npx openpool doctor --pool pool.example:8935");
  expect(checkCommand("x; reboot")).toBe("npx openpool doctor --pool POOL_HOST:8935");
});
