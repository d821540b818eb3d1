import type { Server } from "node:http";
import { type Clock, PoolError } from "@openpool/base";
import {
  addressParamSchema,
  changedAnswerSchema,
  changeSubscriptionSchema,
  credentialAnswerSchema,
  credentialBodySchema,
  endSessionQuerySchema,
  lockBodySchema,
  payToAnswerSchema,
  payToBodySchema,
  payToDocumentSchema,
  payToQuerySchema,
  problemSchema,
  rigLabelBodySchema,
  rigParamsSchema,
  sessionSchema,
  settingsAnswerSchema,
  settingsIdParamsSchema,
  signInBodySchema,
  signInQuerySchema,
  signInTextSchema,
  subscribedAnswerSchema,
  subscribeSchema,
  type WorkerAddress,
} from "@openpool/protocol";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { isRefusal, type Refusal } from "../../settings/ports.ts";
import { readAddress } from "./context.ts";
import { type Asking, mustBeOwn, ownOrigin, readToken, writeToken } from "./own-pages.ts";
import type { SettingsPort } from "./ports.ts";
import { ApiError } from "./problem.ts";
import { sendProblem } from "./reply.ts";
import { time } from "./sums.ts";

const noQuery = z.strictObject({});
const problem = (what: string) => problemSchema.describe(what);
const answers = {
  400: problem("what was asked for cannot be; `issues` says why"),
  401: problem("nobody is signed in"),
  403: problem("it is another worker's, or did not come from the pool's own pages"),
} as const;
const CHANGED = { changed: true } as const;
const limit = (max: number) => ({ rateLimit: { max, timeWindow: 60_000 } });
/** Contract wallets that do not exist yet sign with the code that makes them. */
const SIGNED_BODY_BYTES = 16 * 1_024;

/** Bytes of a signature, checked by the schema. */
const asHex = (text: string): `0x${string}` => text as `0x${string}`;

function must<Done>(result: Done | Refusal): Done {
  if (typeof result !== "object" || result === null || !isRefusal(result)) return result as Done;
  throw new ApiError(
    { code: "api/bad-request", issues: [{ where: result.where, problem: result.refused }] },
    result.refused,
  );
}

/** What went wrong with the chain is not the reader's fault, and soon over. */
async function withChain<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof PoolError) || String(error.info.code) !== "payout/no-quorum") throw error;
    throw new PoolError({ code: "store/unavailable" }, "The chain could not be asked about this signature.", {
      cause: error,
    });
  }
}

/**
 * Signing in with a wallet, and the settings of a worker. Everything that changes something must come from the pool's own
 * pages, in JSON, and goes by a cookie that no script and no other site can use.
 */
export async function settingsRoutes(
  plain: FastifyInstance<Server>,
  { signIn, worker: settings }: SettingsPort,
  clock: Pick<Clock, "now">,
): Promise<void> {
  const app = plain.withTypeProvider<ZodTypeProvider>();
  // Text is what forms of other sites can send without being asked.
  app.removeContentTypeParser("text/plain");
  const originOf = (request: Asking): string => ownOrigin(request, signIn.publicUrl);
  app.addHook("onRequest", async (request, reply) => {
    reply.header("cache-control", "no-store");
    if (request.method !== "GET" && request.method !== "HEAD") mustBeOwn(request, originOf(request));
  });

  const signedIn = async (request: Asking) => {
    const token = readToken(request, originOf(request));
    return token === undefined ? undefined : signIn.session(token);
  };
  /** The worker of the address, when it is the one that is signed in. */
  const owner = async (request: Asking & { readonly params: { readonly address: string } }): Promise<WorkerAddress> => {
    const worker = readAddress(request.params.address);
    const session = await signedIn(request);
    if (session === undefined) {
      throw new ApiError({ code: "api/not-signed-in" }, "Sign in with the wallet of this address first.");
    }
    if (session.worker !== worker) {
      throw new ApiError({ code: "api/not-yours" }, `You are signed in as ${session.worker}.`);
    }
    return worker;
  };

  app.get(
    "/v1/sign-in",
    {
      schema: {
        tags: ["settings"],
        summary: "A text to sign with the wallet of a worker (EIP-4361)",
        querystring: signInQuerySchema,
        response: { 200: signInTextSchema, 400: answers[400], 404: problem("nobody can sign in at this pool") },
      },
      config: limit(60),
    },
    async (request) => {
      const { message, expiresAtMs } = signIn.ask(readAddress(request.query.address), originOf(request));
      return { message, chainId: signIn.chainId, expiresAt: time(expiresAtMs) };
    },
  );
  app.post(
    "/v1/sign-in",
    {
      schema: {
        tags: ["settings"],
        summary: "Sign in with the signed text; the answer sets a cookie for an hour",
        body: signInBodySchema,
        response: { 200: sessionSchema, 400: answers[400], 401: problem("`issues` says which part does not fit") },
      },
      config: limit(20),
      bodyLimit: SIGNED_BODY_BYTES,
    },
    async (request, reply) => {
      const origin = originOf(request);
      const { message, signature } = request.body;
      const session = await withChain(signIn.open(message, asHex(signature), origin));
      if (isRefusal(session)) {
        const issues = [{ where: session.where, problem: session.refused }];
        return sendProblem(reply, "api/sign-in-refused", session.refused, issues) as never;
      }
      const { worker, expiresAtMs, token } = session;
      writeToken(reply, origin, token, Math.floor((expiresAtMs - clock.now()) / 1_000));
      return { worker, expiresAt: time(expiresAtMs) };
    },
  );
  app.get(
    "/v1/session",
    {
      schema: {
        tags: ["settings"],
        summary: "Whose settings this browser may change",
        querystring: noQuery,
        response: { 200: sessionSchema },
      },
    },
    async (request) => {
      const session = await signedIn(request);
      return session ? { worker: session.worker, expiresAt: time(session.expiresAtMs) } : NOBODY;
    },
  );
  app.delete(
    "/v1/session",
    {
      schema: {
        tags: ["settings"],
        summary: "Sign out, here or everywhere",
        querystring: endSessionQuerySchema,
        response: { 200: sessionSchema },
      },
      config: limit(60),
    },
    async (request, reply) => {
      const origin = originOf(request);
      const token = readToken(request, origin);
      const session = token === undefined ? undefined : await signIn.session(token);
      if (token !== undefined) await signIn.end(token);
      if (session && request.query.everywhere === "true") await signIn.endAll(session.worker);
      writeToken(reply, origin, undefined, 0);
      return NOBODY;
    },
  );

  const at = "/v1/workers/:address/settings";
  const described = { tags: ["settings"], params: addressParamSchema };
  const changing = { config: limit(60) };
  app.get(
    at,
    {
      schema: {
        ...described,
        summary: "What a worker can change, as it is now",
        querystring: noQuery,
        response: { 200: settingsAnswerSchema, ...answers },
      },
    },
    async (request) => settings.read(await owner(request)),
  );
  app.get(
    `${at}/pay-to`,
    {
      schema: {
        ...described,
        summary: "What to sign to be paid elsewhere, in something else, from another amount on, or at other gas",
        querystring: payToQuerySchema,
        response: { 200: payToDocumentSchema, ...answers },
      },
    },
    async (request) => must(await settings.payToDocument(await owner(request), request.query)),
  );
  app.put(
    `${at}/pay-to`,
    {
      schema: {
        ...described,
        summary: "Be paid in another way, as signed; it counts after a delay",
        body: payToBodySchema,
        response: { 200: payToAnswerSchema, ...answers },
      },
      config: limit(20),
      bodyLimit: SIGNED_BODY_BYTES,
    },
    async (request) => {
      const { signature, ...change } = request.body;
      const worker = await owner(request);
      return must(await withChain(settings.changePayTo(worker, { ...change, signature: asHex(signature) })));
    },
  );
  app.delete(
    `${at}/pay-to`,
    {
      ...changing,
      schema: {
        ...described,
        summary: "Take back a change of the payout address that does not count yet",
        response: { 200: changedAnswerSchema, ...answers },
      },
    },
    async (request) => {
      must(await settings.cancelPayTo(await owner(request)));
      return CHANGED;
    },
  );
  app.put(
    `${at}/rigs/:name`,
    {
      ...changing,
      schema: {
        tags: ["settings"],
        summary: "Call a rig by another name on all pages",
        params: rigParamsSchema,
        body: rigLabelBodySchema,
        response: { 200: changedAnswerSchema, ...answers },
      },
    },
    async (request) => {
      must(await settings.setRigLabel(await owner(request), request.params.name, request.body.label));
      return CHANGED;
    },
  );
  app.put(
    `${at}/lock`,
    {
      ...changing,
      schema: {
        ...described,
        summary: "Let only issued credentials use the address, or anybody again",
        body: lockBodySchema,
        response: { 200: changedAnswerSchema, ...answers },
      },
    },
    async (request) => {
      must(await settings.setLock(await owner(request), request.body.locked));
      return CHANGED;
    },
  );
  app.post(
    `${at}/credentials`,
    {
      ...changing,
      schema: {
        ...described,
        summary: "Issue a credential for a rig",
        body: credentialBodySchema,
        response: { 200: credentialAnswerSchema, ...answers },
      },
    },
    async (request) => must(await settings.issueCredential(await owner(request), request.body.rig)),
  );
  app.delete(
    `${at}/credentials/:id`,
    {
      ...changing,
      schema: {
        ...described,
        summary: "Revoke a credential: the rig that uses it is let go",
        params: settingsIdParamsSchema,
        response: { 200: changedAnswerSchema, ...answers },
      },
    },
    async (request) => {
      must(await settings.revokeCredential(await owner(request), request.params.id));
      return CHANGED;
    },
  );
  app.post(
    `${at}/alerts`,
    {
      config: limit(10),
      schema: {
        ...described,
        summary: "Subscribe to alerts about this worker; every channel is asked first",
        body: subscribeSchema,
        response: { 200: subscribedAnswerSchema, ...answers },
      },
      bodyLimit: 4 * 1_024,
    },
    async (request) => must(await settings.subscribe(await owner(request), request.body)),
  );
  app.put(
    `${at}/alerts/:id`,
    {
      ...changing,
      schema: {
        ...described,
        summary: "Change what a subscription hears",
        params: settingsIdParamsSchema,
        body: changeSubscriptionSchema,
        response: { 200: changedAnswerSchema, ...answers },
      },
    },
    async (request) => {
      must(await settings.changeSubscription(await owner(request), request.params.id, request.body));
      return CHANGED;
    },
  );
  app.delete(
    `${at}/alerts/:id`,
    {
      ...changing,
      schema: {
        ...described,
        summary: "End a subscription",
        params: settingsIdParamsSchema,
        response: { 200: changedAnswerSchema, ...answers },
      },
    },
    async (request) => {
      must(await settings.endSubscription(await owner(request), request.params.id));
      return CHANGED;
    },
  );
}

const NOBODY = { worker: null, expiresAt: null };
