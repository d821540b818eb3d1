import { type OptionSource, resolveOptions } from "@openpool/base";
import { describe, expect, test } from "vitest";
import { type PoolOptions, poolOptions, toPoolOptions } from "./options.ts";

/** The options that these flags make, or the names of the settings that are wrong. */
function optionsOf(flags: Record<string, string>, joinPassword?: string): PoolOptions | string[] {
  const source: OptionSource = { origin: "flag", label: (name) => name, values: new Map(Object.entries(flags)) };
  const resolved = resolveOptions(poolOptions, [source]);
  if (resolved.problems.length > 0) return resolved.problems.map((one) => one.where);
  const options = toPoolOptions(resolved.values, {
    isNamed: (key) => poolOptions[key].name in flags,
    joinPassword,
    terminal: false,
  });
  return "problems" in options ? options.problems.map((one) => one.where) : options;
}

test("the defaults are 1000 wei a pixel, a commission of 25 %, open joining and an admin port for this machine alone", () => {
  expect(optionsOf({ listen: "10.0.0.1:8935" })).toMatchObject({
    network: "offchain",
    serviceUri: "https://10.0.0.1:8935",
    adminListen: { host: "127.0.0.1", port: 7945 },
    adminListenNamed: false,
    joinOpen: true,
    joinRegistered: false,
    joinPassword: undefined,
    databaseUrl: undefined,
    price: { pricePerUnitWei: 1000n, pixelsPerUnit: 1n },
    commissionPpm: 250_000n,
    logFormat: "json",
  });
});

describe("the address for gateways", () => {
  test.each([
    ["https://pool.example.com:8935/", "https://pool.example.com:8935"],
    ["https://pool.example.com", "https://pool.example.com:443"],
    ["pool.example.com:8935", "https://pool.example.com:8935"],
    ["https://[::1]:8935", "https://[::1]:8935"],
  ])("%s becomes %s", (text, serviceUri) => {
    expect(optionsOf({ "service-uri": text })).toMatchObject({ serviceUri });
  });

  test.each(["http://a:1", "https://a/path", "https://u:p@a:1", "https://a:1?x", "nonsense!", ""])(
    "cannot be %j",
    (text) => {
      expect(optionsOf({ "service-uri": text })).toEqual(["service-uri"]);
    },
  );

  test("must be named where the pool listens on all addresses or on any port", () => {
    expect(optionsOf({})).toEqual(["--service-uri"]);
    expect(optionsOf({ listen: "[::]:8935" })).toEqual(["--service-uri"]);
    expect(optionsOf({ listen: "127.0.0.1:0" })).toEqual(["--service-uri"]);
  });
});

test("a chain is refused, and so is half a certificate and a password that no command line can carry", () => {
  expect(optionsOf({ listen: "a:1", network: "arbitrum-one-mainnet" })).toEqual(["network"]);
  expect(optionsOf({ listen: "a:1", "tls-cert": "/x" })).toEqual(["--tls-key"]);
  expect(optionsOf({ "tls-key": "/x" }, "two words")).toEqual(["--service-uri", "--tls-cert", "--join-password-file"]);
});

test("joining can be open, registered or both", () => {
  expect(optionsOf({ listen: "a:1", join: "registered" })).toMatchObject({ joinOpen: false, joinRegistered: true });
  expect(optionsOf({ listen: "a:1", join: "open,registered" })).toMatchObject({ joinOpen: true, joinRegistered: true });
});

describe("the file of the first terms", () => {
  const worker = `0x${"11".repeat(20)}`;
  const termsOf = (flags: Record<string, string>, termsFile: unknown): unknown => {
    const source: OptionSource = { origin: "flag", label: (name) => name, values: new Map(Object.entries(flags)) };
    const { values } = resolveOptions(poolOptions, [source]);
    const isNamed = (key: keyof typeof poolOptions): boolean => poolOptions[key].name in flags;
    const options = toPoolOptions(values, { isNamed, joinPassword: undefined, termsFile, terminal: false });
    if ("problems" in options) return options.problems.map((one) => `${one.where} ${one.problem}`);
    return { ...options.firstTerms, commissionPpm: options.commissionPpm, named: options.namedTerms };
  };

  test("says what settings cannot, beside them: parameters of the scheme, and who has other terms", () => {
    const overrides = [{ name: "own machines", workers: [worker], commissionPpm: 0 }];
    expect(
      termsOf({ scheme: "segment", listen: "a:1" }, { schemeOptions: { amountWei: "900" }, overrides, holdMs: 0 }),
    ).toMatchObject({
      scheme: "segment",
      schemeOptions: { amountWei: "900" },
      commissionPpm: 250_000n,
      holdMs: 0,
      overrides: [{ name: "own machines", workers: [worker], commissionPpm: 0n }],
      named: ["scheme", "schemeOptions", "holdMs", "overrides"],
    });
    expect(termsOf({ listen: "a:1" }, { commissionPpm: 0, scheme: "proportional" })).toMatchObject({
      commissionPpm: 0n,
      scheme: "proportional",
    });
  });

  test("is told of all of its mistakes at once", () => {
    expect(termsOf({ scheme: "segment", listen: "a:1" }, undefined)).toEqual([
      expect.stringMatching(/^--scheme .*segment are wrong: amountWei/),
    ]);
    const uptime = { budgetWeiPerDay: "1" };
    const overrides = [{ name: "partners", workers: [worker], scheme: "luck", schemeOptions: { uptime } }];
    expect(
      termsOf({ commission: "1%", listen: "a:1" }, { commissionPpm: 0, scheme: "blend", schemeOptions: {}, overrides }),
    ).toEqual([
      expect.stringMatching(/^--terms-file says commissionPpm, and so does the setting commission/),
      expect.stringMatching(/^--terms-file .*blend are wrong: lambdaPpm/),
      expect.stringMatching(/^--terms-file .*"partners": There is no scheme "luck"/),
      expect.stringMatching(/^--terms-file .*"partners" has the parameter uptime/),
    ]);
    expect(termsOf({ listen: "a:1" }, { comission: 0, holdMs: -1 })).toEqual([
      expect.stringMatching(/^--terms-file holdMs/),
      expect.stringMatching(/^--terms-file .*comission/),
    ]);
    for (const none of ["x", [1]]) expect(termsOf({ listen: "a:1" }, none)).toHaveLength(1);
  });
});

describe("what the pages say of the pool", () => {
  const listen = "127.0.0.1:8935";

  test("is taken as the operator wrote it", () => {
    const flags = {
      "pool-name": "Harbour <Pool> & Söhne",
      "pool-logo": "https://pool.example/logo.svg",
      "pool-contact": "E-mail=mailto:me@pool.example, Chat=https://chat.example/#pool",
      "pool-hardware": "An L4 or better",
      "pool-notice": "<b>Maintenance</b> on Sunday",
      "pool-source": "https://git.example/openpool.git",
    };
    expect(optionsOf({ listen, ...flags })).toMatchObject({
      api: {
        identity: {
          name: "Harbour <Pool> & Söhne",
          logoUrl: "https://pool.example/logo.svg",
          contacts: [
            { label: "E-mail", url: "mailto:me@pool.example" },
            { label: "Chat", url: "https://chat.example/#pool" },
          ],
          hardware: "An L4 or better",
          notice: "<b>Maintenance</b> on Sunday",
          sourceUrl: "https://git.example/openpool.git",
        },
      },
    });
  });

  test.each([
    ["pool-logo", "javascript:alert(1)"],
    ["pool-logo", "http://pool.example/logo.svg"],
    ["pool-logo", "data:image/svg+xml,<svg/>"],
    ["pool-source", "git@git.example:openpool.git"],
    ["pool-contact", "Chat=javascript:alert(1)"],
    ["pool-contact", "Chat=data:text/html,<script>alert(1)</script>"],
    ["pool-contact", "https://chat.example"],
    ["pool-name", "x".repeat(61)],
    ["pool-hardware", "x".repeat(501)],
    ["pool-notice", "x".repeat(1_001)],
    ["pool-notice", "two\nlines"],
    ["pool-notice", "\u001b[31mred"],
  ])("%s cannot be %j", (name, text) => {
    expect(optionsOf({ listen, [name]: text })).toEqual([name]);
  });
});
