import { type OptionSource, resolveOptions } from "@openpool/base";
import { describe, expect, test } from "vitest";
import { type PoolOptions, poolOptions, toPoolOptions } from "./options.ts";

/** The options that these flags make, or the names of the settings that are wrong. */
function optionsOf(flags: Record<string, string>, joinPassword?: string): PoolOptions | string[] {
  const source: OptionSource = { origin: "flag", label: (name) => name, values: new Map(Object.entries(flags)) };
  const resolved = resolveOptions(poolOptions, [source]);
  if (!resolved.ok) return resolved.problems.map((one) => one.where);
  const options = toPoolOptions(resolved.values, {
    adminListenNamed: false,
    apiListenNamed: false,
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
