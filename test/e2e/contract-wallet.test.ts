import { systemClock } from "@openpool/base";
import { type LocalChain, startLocalChain } from "@openpool/pool";
import { type PrivateKeyAccount, privateKeyToAccount } from "viem/accounts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deployCode, walletOf } from "../../packages/pool/src/chain/testing/wallets.ts";
import { localPayouts } from "../dashboard/world.ts";
import { ADA, startTestPool, type TestPool } from "./pool.ts";

const owner = privateKeyToAccount(`0x${"0".repeat(60)}a11c`);
const thief = privateKeyToAccount(`0x${"0".repeat(60)}0bad`);

let chain: LocalChain;
let pool: TestPool;
/** A worker whose address is a contract. */
let wallet: string;
let url: string;
/** How far the pool's clock is ahead. */
let aheadMs = 0;

beforeAll(async () => {
  chain = await startLocalChain();
  wallet = await deployCode(chain, walletOf(owner.address));
  pool = await startTestPool(
    {
      api: {
        listen: { host: "127.0.0.1", port: 0 },
        named: true,
        trustProxy: false,
        identity: { name: "", logoUrl: null, contacts: [], hardware: null, notice: null, sourceUrl: null },
      },
      alerts: { publicUrl: "http://127.0.0.1:0", settings: { mail: undefined, telegram: undefined, operator: [] } },
      payouts: localPayouts(chain),
    },
    { clock: { ...systemClock, now: () => systemClock.now() + aheadMs } },
  );
  url = pool.running.publicUrl ?? "";
  await pool.transcoder({ secret: `${wallet}.attic` });
  await pool.untilConnected(1);
}, 120_000);
afterAll(async () => {
  await pool?.[Symbol.asyncDispose]();
  await chain?.[Symbol.asyncDispose]();
});

interface Answer {
  readonly status: number;
  readonly cookie: string | undefined;
  readonly body: {
    readonly code?: string;
    readonly issues?: readonly { readonly where: string }[];
    readonly [name: string]: unknown;
  };
}

/** As the pool's own pages ask. */
async function ask(
  method: string,
  path: string,
  more: { cookie?: string; origin?: string; sent?: object } = {},
): Promise<Answer> {
  const { cookie, origin = url, sent } = more;
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: {
      origin,
      ...(cookie === undefined ? {} : { cookie }),
      ...(sent === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
  });
  const text = await answer.text();
  const set = answer.headers.get("set-cookie")?.split(";")[0];
  return { status: answer.status, cookie: set, body: (text === "" ? {} : JSON.parse(text)) as Answer["body"] };
}
const settings = (): string => `/v1/workers/${wallet}/settings`;
const textFor = async (address: string): Promise<string> =>
  String((await ask("GET", `/v1/sign-in?address=${address}`)).body["message"]);
async function enter(message: string, by: PrivateKeyAccount = owner): Promise<Answer> {
  return ask("POST", "/v1/sign-in", { sent: { message, signature: await by.signMessage({ message }) } });
}
async function signIn(): Promise<string> {
  const { status, cookie } = await enter(await textFor(wallet));
  expect(status).toBe(200);
  return cookie ?? "";
}
const refused = ({ status, cookie, body }: Answer): readonly unknown[] => [status, cookie, body.issues?.[0]?.where];

describe("a worker whose address is a contract (ERC-1271) on the chain that the pool pays on", () => {
  test("signs in by whom the contract names, changes its settings, and leaves", async () => {
    const cookie = await signIn();
    expect((await ask("GET", "/v1/session", { cookie })).body).toMatchObject({ worker: wallet });
    const named = await ask("PUT", `${settings()}/rigs/attic`, { cookie, sent: { label: "Under the roof" } });
    expect(named.status).toBe(200);
    const { rigs } = (await ask("GET", settings(), { cookie })).body;
    expect(rigs).toMatchObject([{ rig: "attic", label: "Under the roof" }]);
    // Another worker's are not its own.
    expect((await ask("GET", `/v1/workers/${ADA}/settings`, { cookie })).body.code).toBe("api/not-yours");
    expect((await ask("DELETE", "/v1/session", { cookie })).status).toBeLessThan(300);
    expect((await ask("GET", settings(), { cookie })).body.code).toBe("api/not-signed-in");
  });

  test("is not the key that signs for it, and nobody else signs for it", async () => {
    expect(refused(await enter(await textFor(wallet), thief))).toEqual([401, undefined, "signature"]);
    const own = await enter(await textFor(owner.address));
    expect(own.status).toBe(200);
    expect((await ask("GET", settings(), { cookie: own.cookie ?? "" })).body.code).toBe("api/not-yours");
    // A contract that says nothing of signatures signs nothing.
    const none = await deployCode(chain, "0x6000600055600060006000f0");
    expect(refused(await enter(await textFor(none)))).toEqual([401, undefined, "signature"]);
  });

  test.each<[what: string, change: (text: string) => string, where: string]>([
    ["for another chain", (text) => text.replace(/Chain ID: \d+/, "Chain ID: 1"), "chainId"],
    ["for another domain", (text) => text.replace(/^\S+/, "evil.example"), "domain"],
    ["for another page", (text) => text.replace("URI: http://", "URI: https://"), "uri"],
  ])("signs in with no text %s", async (_what, change, where) => {
    expect(refused(await enter(change(await textFor(wallet))))).toEqual([401, undefined, where]);
  });

  test("signs in once with a text, and not with one that is too old", async () => {
    const message = await textFor(wallet);
    expect((await enter(message)).status).toBe(200);
    expect(refused(await enter(message))).toEqual([401, undefined, "nonce"]);
    const old = await textFor(wallet);
    aheadMs += 11 * 60_000;
    expect(refused(await enter(old))).toEqual([401, undefined, "expirationTime"]);
  });

  test("is signed in for an hour", async () => {
    const cookie = await signIn();
    aheadMs += 61 * 60_000;
    expect((await ask("GET", settings(), { cookie })).body.code).toBe("api/not-signed-in");
  });

  test("changes nothing for another site that its browser is on", async () => {
    const cookie = await signIn();
    for (const origin of ["https://evil.example", "null", url.replace("127.0.0.1", "localhost")]) {
      const sent = { label: "stolen" };
      const answer = await ask("PUT", `${settings()}/rigs/attic`, { cookie, origin, sent });
      expect([answer.status, answer.body.code]).toEqual([403, "api/wrong-origin"]);
    }
    expect(JSON.stringify((await ask("GET", settings(), { cookie })).body)).not.toContain("stolen");
  });

  test("moves its money by a document that its key signed for this pool and chain, once", async () => {
    const cookie = await signIn();
    const change = { payTo: ADA, minimumWei: "5" };
    const path = `${settings()}/pay-to`;
    interface Document {
      readonly domain: { readonly chainId: number };
    }
    const { body } = await ask("GET", `${path}?${new URLSearchParams(change)}`, { cookie });
    const document = body["document"] as Document;
    const sign = (one: Document, by = owner): Promise<string> => by.signTypedData(one as never);
    const put = async (signature: string): Promise<Answer> =>
      ask("PUT", path, { cookie, sent: { ...change, nonce: body["nonce"], signature } });
    const elsewhere = { ...document, domain: { ...document.domain, chainId: 1 } };
    for (const forged of [await sign(document, thief), await sign(elsewhere)]) {
      expect((await put(forged)).body.issues?.[0]?.where).toBe("signature");
    }
    const signature = await sign(document);
    const first = await put(signature);
    expect(first.status).toBe(200);
    const { payout } = (await ask("GET", settings(), { cookie })).body;
    expect(payout).toMatchObject({ payTo: wallet, pending: { payTo: ADA, minimumWei: "5" } });
    // Sent once more, as after a lost answer, it is the same change and puts nothing off.
    aheadMs += 1_000;
    expect((await put(signature)).body).toEqual(first.body);
    // Taken back, it does not come again.
    expect((await ask("DELETE", path, { cookie })).status).toBe(200);
    await put(signature);
    expect((await ask("GET", settings(), { cookie })).body["payout"]).toMatchObject({ pending: null });
  });

  test("is let in by nobody while the chain cannot be asked", async () => {
    const message = await textFor(wallet);
    await chain[Symbol.asyncDispose]();
    const answer = await enter(message);
    expect([answer.status >= 500, answer.cookie]).toEqual([true, undefined]);
  });
});
