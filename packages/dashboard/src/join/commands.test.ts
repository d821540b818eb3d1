import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
  credential: false,
  password: false,
  source: null,
};
const ADMISSIONS = [false, true].flatMap((credential) => [false, true].map((password) => ({ credential, password })));
const SHIPPED_UNIT = join(import.meta.dirname, "../../../../deploy/systemd/openpool-worker.service");

describe("the command to join", () => {
  test("with our worker holds the pool, the address in checksum form and the rig", () => {
    const [run] = joinCommands(usual);
    expect(run?.code.replaceAll(" \\\n  ", " ")).toBe(
      `npx --no openpool worker --pool pool.example:8935 --address ${ada} --name attic --devices nvidia`,
    );
  });

  test("with go-livepeer on a processor asks for no card", () => {
    const [run] = joinCommands({ ...usual, software: "livepeer", device: "cpu" });
    expect(run?.code.replaceAll(" \\\n  ", " ")).toBe(
      `livepeer -transcoder -orchAddr pool.example:8935 -orchSecret ${ada}.attic -maxSessions 2`,
    );
  });

  test("says where the pool's password goes when there is one", () => {
    expect(joinCommands({ ...usual, software: "docker", password: true })[0]?.code).toContain(
      `-orchSecret ${ada}.attic:POOL_PASSWORD`,
    );
    expect(joinCommands({ ...usual, password: true })[0]?.code).toContain("--join-password-file");
  });

  test("holds the place of a credential, and no address, where only that lets a rig in", () => {
    for (const software of ["worker", "livepeer", "docker", "cloud"] as const) {
      for (const { id, code } of joinCommands({ ...usual, software, credential: true })) {
        expect(code, id).toMatch(software === "worker" ? /--secret-file[ =]\S*rig\.secret/ : /op_YOUR_CREDENTIAL/);
        expect(code, id).not.toContain(ada);
      }
    }
  });

  test("asks for the pool's password beside a credential where both are needed", () => {
    const both = { ...usual, credential: true, password: true };
    expect(joinCommands({ ...both, software: "livepeer" })[0]?.code).toContain(
      "-orchSecret op_YOUR_CREDENTIAL:POOL_PASSWORD",
    );
    const run = joinCommands(both).find(({ id }) => id === "run");
    expect(run?.code).toMatch(/--secret-file rig\.secret[^]*--join-password-file pool-password/);
  });

  test("begins with a clone where the operator says of what, and with nothing that a shell could read in it", () => {
    const source = "https://git.example/harbour/openpool.git";
    expect(joinCommands({ ...usual, source })[0]).toEqual({
      id: "get",
      code: `git clone ${source} openpool && cd openpool && npm ci`,
    });
    for (const none of [null, "https://git.example/$(reboot)", "--upload-pack=reboot", "https://git.example/a b"]) {
      expect(joinCommands({ ...usual, source: none })[0]?.id).toBe("run");
    }
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
      ADMISSIONS.map((admission): JoinCase => ({ ...usual, software, device, ...admission })),
    ),
  );
  const codeOf = (given: JoinCase, id: string): string => joinCommands(given).find((one) => one.id === id)?.code ?? "";
  /** What a shell makes of a command: its words. */
  const wordsOf = (command: string): string[] => {
    const { status, stdout, stderr } = spawnSync("bash", ["-c", `printf '%s\\n' ${command}`], { encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
    return stdout.trimEnd().split("\n");
  };

  const composed = every.filter(({ software }) => software === "worker" || software === "docker");
  const rigIn = (given: JoinCase): { image: string; restart: string; command: string[]; deploy?: unknown } => {
    const { services } = parse(codeOf(given, "compose")) as { services: Record<string, ReturnType<typeof rigIn>> };
    expect(Object.keys(services)).toEqual(["rig"]);
    return services["rig"]!;
  };
  const imageOf = ({ software }: JoinCase): string =>
    software === "worker" ? "openpool" : "livepeer/go-livepeer:master";

  test("compose files are YAML with one service, its image and its arguments", () => {
    for (const given of composed) {
      const { image, restart, command, deploy } = rigIn(given);
      expect([image, restart]).toEqual([imageOf(given), "unless-stopped"]);
      expect(command).toContain(`${given.software === "worker" ? "--pool" : "-orchAddr"}=pool.example:8935`);
      // Every argument is one word; YAML reads none of them as a number, a list or a map.
      expect(command.every((one) => typeof one === "string" && /^(?:worker|-\S+)$/.test(one))).toBe(true);
      expect(deploy !== undefined).toBe(given.device === "nvidia");
    }
  });

  test("a compose file says the same as the command beside it", () => {
    for (const given of composed) {
      const run = codeOf(given, given.software === "worker" ? "image" : "run").replace(/^docker build .*\n/, "");
      const words = wordsOf(run);
      const behind = words.slice(words.lastIndexOf(imageOf(given)) + 1);
      expect(behind.join(" ")).toBe(rigIn(given).command.join(" ").replaceAll("=", " "));
    }
  });

  test("the unit is the one that Open Pool ships, with the settings in its command", () => {
    const settingsOf = (file: string): string[] =>
      file.split("\n").filter((line) => !/^(?:#|$|ExecStart=|Environment=OPENPOOL_CONFIG=)/.test(line));
    const programOf = (file: string): string | undefined => /^ExecStart=(.* worker)\b/m.exec(file)?.[1];
    const shipped = readFileSync(SHIPPED_UNIT, "utf8");
    const given = codeOf(usual, "systemd");
    expect(settingsOf(given)).toEqual(settingsOf(shipped));
    expect(programOf(given)).toBe(programOf(shipped));
    expect(settingsOf(given)).toContain("KillMode=mixed");
  });

  test("the unit runs what the command does, and says it as systemd reads it", () => {
    const dir = mkdtempSync(join(tmpdir(), "openpool-unit-"));
    try {
      for (const given of every.filter(({ software }) => software === "worker")) {
        const unit = codeOf(given, "systemd");
        const sections = [...unit.matchAll(/^\[(\w+)\]$/gm)].map(([, name]) => name);
        expect(sections).toEqual(["Unit", "Service", "Install"]);
        for (const line of unit.split("\n")) expect(line).toMatch(/^$|^\[\w+\]$|^#|^[A-Z]\w+=\S/);
        const started = /^ExecStart=.* worker (.*)$/m.exec(unit)?.[1] ?? "";
        const run = wordsOf(codeOf(given, "run"));
        expect(wordsOf(started.replaceAll("/etc/openpool/", ""))).toEqual(run.slice(run.indexOf("worker") + 1));
        // Where the machine has systemd its own parser is asked too, which may have more to say of the machine than of the
        // unit; the paths of a rig are not there.
        const file = join(dir, "openpool-worker.service");
        writeFileSync(file, unit.replace(/^ExecStart=\S+/m, "ExecStart=/bin/true"));
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
        if (id === "systemd" || id === "compose") continue;
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
  expect(checkCommand("pool.example:8935")).toBe("npx --no openpool doctor --pool pool.example:8935");
  expect(checkCommand("x; reboot")).toBe("npx --no openpool doctor --pool POOL_HOST:8935");
});
