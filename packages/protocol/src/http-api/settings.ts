import { z } from "zod";
import { alertChannelSchema, alertThresholdsSchema, quietHoursSchema, workerAlertSchema } from "./alerts.ts";
import {
  countSchema,
  notConfiguredSchema,
  rigNameSchema,
  timeSchema,
  weiSchema,
  workerAddressSchema,
} from "./common.ts";
import { assetSchema } from "./payouts.ts";

/** What a worker may change, once its wallet has signed in (EIP-4361). */

/** Bytes in hex, as wallets give signatures: 65 bytes of a key, or what a contract wallet makes of it. */
export const signatureSchema = z
  .string()
  .regex(/^0x([0-9a-fA-F]{2}){64,4000}$/, "must be 0x and the bytes of a signature in hex");

/** `GET /v1/sign-in?address=` */
export const signInQuerySchema = z.strictObject({
  address: z.string().min(1).max(64).describe("who wants to sign in"),
});
export const signInTextSchema = z.object({
  message: z.string().describe("the text to sign (EIP-4361, personal_sign), byte by byte as it is"),
  chainId: z.number().int().describe("of the chain whose contracts may sign"),
  expiresAt: timeSchema.describe("sign and send it before this time, once"),
});
export type SignInText = z.infer<typeof signInTextSchema>;

/** `POST /v1/sign-in` */
export const signInBodySchema = z.strictObject({
  message: z.string().min(1).max(2_000).describe("the text as it was given out"),
  signature: signatureSchema,
});

/** `GET /v1/session`: whose settings this browser may change. */
export const sessionSchema = z.object({
  worker: workerAddressSchema.nullable().describe("null: nobody is signed in"),
  expiresAt: timeSchema.nullable(),
});
export type Session = z.infer<typeof sessionSchema>;
export const endSessionQuerySchema = z.strictObject({
  everywhere: z.enum(["true", "false"]).default("false").describe("end every session of this worker, in all browsers"),
});

/** A name that a worker gives a rig: any letters, but none that draw nothing, turn the writing round or pile up marks. */
export const rigLabelSchema = z
  .string()
  .trim()
  .min(1)
  .max(40)
  .regex(/^(?!.*\p{M}{3})[^\p{C}\p{Zl}\p{Zp}]*$/u, "must be plain letters, digits, signs and spaces")
  .refine((text) => text.normalize("NFC") === text, "must be in the composed form of Unicode (NFC)");

/** What to be paid in: `pool` is whatever the pool pays in. */
const assetChoiceSchema = z
  .string()
  .regex(/^(?:pool|eth|0x[0-9a-fA-F]{40})$/, "must be pool, eth, or the address of a token")
  .describe("`pool`: whatever the pool pays in; or `eth`, or the address of a token that the pool offers");
/** How a worker wants to be paid; 0 and `pool` leave it to the pool. */
const wishSchema = z.object({
  payTo: workerAddressSchema.describe("where the money goes"),
  minimumWei: weiSchema.describe("pay from this much on, if that is more than the pool's minimum"),
  asset: assetChoiceSchema,
  maxGasPriceWei: weiSchema.describe("do not pay while gas costs more"),
  maxGasSharePpm: countSchema.describe("nor while gas takes a larger part of the amount, in parts per million"),
});
export type PayoutWish = z.infer<typeof wishSchema>;

export const settingsAnswerSchema = z.object({
  worker: workerAddressSchema,
  banned: z.string().nullable(),
  payout: z.union([
    notConfiguredSchema,
    wishSchema.extend({
      configured: z.literal(true),
      poolMinimumWei: weiSchema.describe("what the terms say; the larger of the two counts"),
      pending: wishSchema
        .extend({ requestedAt: timeSchema, effectiveAt: timeSchema.describe("counts from then on") })
        .nullable()
        .describe("a change that was signed and does not count yet"),
      delayMs: countSchema.describe("how long after its signature a change counts"),
      chainId: z.number().int(),
      poolAsset: assetSchema.describe("what a worker is paid in that chose nothing"),
      choices: z.array(assetSchema).describe("what else it may choose"),
      gasBorneBy: z.enum(["pool", "worker"]),
    }),
  ]),
  rigs: z.array(z.object({ rig: rigNameSchema, label: z.string().nullable(), lastSeenAt: timeSchema.nullable() })),
  access: z.object({
    locked: z.boolean().describe("only issued credentials may use the address"),
    credentialsWork: z.boolean().describe("this pool lets rigs join with issued credentials"),
    canIssue: z.boolean().describe("workers may issue credentials for their rigs here; else the operator does"),
    credentials: z
      .array(z.object({ id: z.string(), rig: rigNameSchema, createdAt: timeSchema }))
      .describe("those that are not revoked"),
  }),
  alerts: z.object({
    channels: z.array(alertChannelSchema).describe("what this pool can send over; empty: it sends no alerts"),
    subscriptions: z.array(
      z.object({
        id: z.string(),
        channel: alertChannelSchema,
        target: z.string(),
        kinds: z.array(workerAlertSchema),
        thresholds: alertThresholdsSchema.required(),
        quiet: quietHoursSchema.nullable(),
        state: z.enum(["pending", "active"]).describe("pending: the link in its first message was not followed yet"),
        createdAt: timeSchema,
      }),
    ),
  }),
  sessions: countSchema.describe("browsers that are signed in for this worker, this one included"),
});
export type WorkerSettingsAnswer = z.infer<typeof settingsAnswerSchema>;

/** What is asked for. Amounts are short: nobody waits for 10¹² ETH. */
const askedWishSchema = z.strictObject({
  payTo: z.string().min(1).max(64).describe("where the money shall go"),
  minimumWei: weiSchema.max(30).default("0"),
  asset: assetChoiceSchema.default("pool"),
  maxGasPriceWei: weiSchema.max(30).default("0"),
  maxGasSharePpm: z.coerce.number().int().min(0).max(1_000_000).default(0),
});
/** `GET …/settings/pay-to?payTo=&minimumWei=`: what the wallet has to sign for a change. */
export const payToQuerySchema = askedWishSchema;
export const payToDocumentSchema = z.object({
  nonce: z.string().regex(/^\d+$/).describe("give it back with the signature"),
  document: z.record(z.string(), z.unknown()).describe("typed data (EIP-712), for eth_signTypedData_v4"),
});
export type PayToDocument = z.infer<typeof payToDocumentSchema>;

/** `PUT …/settings/pay-to` */
export const payToBodySchema = z.strictObject({
  ...askedWishSchema.shape,
  nonce: z.string().regex(/^\d{1,20}$/),
  signature: signatureSchema,
});
export const payToAnswerSchema = wishSchema.extend({ effectiveAt: timeSchema });

/** `PUT …/settings/rigs/{name}` */
export const rigLabelBodySchema = z.strictObject({ label: rigLabelSchema.nullable() });
/** `PUT …/settings/lock` */
export const lockBodySchema = z.strictObject({ locked: z.boolean() });
/** `POST …/settings/credentials` */
export const credentialBodySchema = z.strictObject({ rig: rigNameSchema });
export const credentialAnswerSchema = z.object({
  id: z.string(),
  name: z.string().describe("`<address>.<rig>`"),
  secret: z.string().describe("what the rig connects with; it is told only now"),
});
export type NewCredential = z.infer<typeof credentialAnswerSchema>;
/** `POST …/settings/alerts` */
export const subscribedAnswerSchema = z.object({
  state: z.enum(["pending", "active"]).describe("pending: a message with a link was sent there"),
  webhookSecret: z.string().nullable().describe("of a new webhook: what its messages are signed with; told only now"),
});
export type Subscribed = z.infer<typeof subscribedAnswerSchema>;
/** What a change that needs no other answer is answered with. */
export const changedAnswerSchema = z.object({ changed: z.literal(true) });

export const settingsIdParamsSchema = z.object({
  address: z.string().min(1).max(64),
  id: z.string().regex(/^[0-9a-f-]{1,36}$/),
});
