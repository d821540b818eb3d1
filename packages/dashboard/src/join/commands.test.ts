import fc from "fast-check";
import { describe, expect, test } from "vitest";
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

test("the pool's host is taken from its service address, and nothing else gets into a command", () => {
  expect(poolHost("https://pool.example:8935")).toBe("pool.example:8935");
  expect(checkCommand("pool.example:8935")).toBe("npx openpool doctor --pool pool.example:8935");
  expect(checkCommand("x; reboot")).toBe("npx openpool doctor --pool POOL_HOST:8935");
});
