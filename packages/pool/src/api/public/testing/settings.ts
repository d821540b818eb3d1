import { type Clock, openScope, PoolError, silentLogger } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { Alerts } from "../../../alerts/alerts.ts";
import { noAlertSettings } from "../../../alerts/settings.ts";
import { createSignatureCheck, isSignedPayTo, payToJson } from "../../../chain/index.ts";
import type { PayToChange } from "../../../payouts/types.ts";
import { RigLabels } from "../../../settings/rig-labels.ts";
import { SignIn } from "../../../settings/sign-in.ts";
import { type PayoutSettingsPort, WorkerSettings } from "../../../settings/worker-settings.ts";
import { PgAlertStore } from "../../../store/alert-store.ts";
import type { PgConnection } from "../../../store/pg-connection.ts";
import { PgSettingsStore } from "../../../store/settings-store.ts";
import type { Store } from "../../../store/types.ts";
import { Connections } from "../../../workers/connections.ts";
import { Identities } from "../../../workers/identity.ts";
import { WorkersRegister } from "../../../workers/register.ts";
import { assetJson } from "../payout-view.ts";
import type { AlertsPort, SettingsPort } from "../ports.ts";

export const PLACE = { pool: "https://pool.example.com:8935", chainId: 42_161 };
/** What workers may choose besides ETH. */
export const TOKEN = parseAddress(`0x${"cc".repeat(20)}`) as WorkerAddress;
const DELAY_MS = 2 * 86_400_000;

/** The part of payouts that settings touch, in memory; signatures are checked as on a real pool. */
function memoryPayouts(clock: Clock): PayoutSettingsPort {
  const changes: PayToChange[] = [];
  const check = createSignatureCheck([], 1);
  const replace = (worker: WorkerAddress, state: PayToChange["state"]): void => {
    for (const [i, one] of changes.entries()) {
      if (one.worker === worker && one.state === "waiting") changes[i] = { ...one, state };
    }
  };
  return {
    assetOf: assetJson,
    minimumWei: () => 10n ** 16n,
    gasBorneBy: () => "worker",
    document: (change) => payToJson(change, PLACE),
    port: {
      status: async () => ({
        ...PLACE,
        payToDelayMs: DELAY_MS,
        payer: undefined,
        asset: "eth",
        choices: [TOKEN],
        floats: [],
        balanceWei: undefined,
        goneWei: 0n,
        paused: undefined,
        halted: undefined,
        waitingFor: undefined,
        warnings: [],
      }),
      payToChanges: async (worker) => changes.filter((one) => one.worker === worker).toReversed(),
      async requestPayTo(request) {
        if (!(await isSignedPayTo(request, PLACE, check))) throw new PoolError({ code: "payto/bad-signature" }, "no");
        if (changes.some((one) => one.worker === request.worker && one.nonce >= request.nonce)) {
          throw new PoolError({ code: "payto/old-nonce" }, "old");
        }
        replace(request.worker, "replaced");
        const { signature: _, ...rest } = request;
        const nowMs = clock.now();
        const change = { ...rest, requestedAtMs: nowMs, effectiveAtMs: nowMs + DELAY_MS, state: "waiting" as const };
        changes.push(change);
        return change;
      },
      cancelPayTo: async (worker) => replace(worker, "cancelled"),
    },
  };
}

export interface TestSettings extends SettingsPort, AsyncDisposable {
  readonly alerts: AlertsPort;
  readonly register: WorkersRegister;
  readonly payouts: PayoutSettingsPort;
}

/** Sign-ins and settings on a test's store; what is random is the same every time, unless `random` says otherwise. */
export async function openTestSettings(deps: {
  readonly store: Store;
  readonly connection: PgConnection;
  readonly clock: Clock;
  readonly rigsOf: (worker: WorkerAddress) => readonly string[];
  readonly publicUrl?: string | undefined;
  readonly random?: (bytes: number) => Uint8Array;
}): Promise<TestSettings> {
  const { store, connection, clock } = deps;
  const scope = openScope();
  const settingsStore = scope.use(new PgSettingsStore(connection));
  const connections = new Connections({ logger: silentLogger, clock });
  const identities = new Identities({ joinOpen: true, joinRegistered: true, joinPassword: undefined });
  const register = new WorkersRegister({ store, identities, connections, clock });
  const check = createSignatureCheck([], 1);
  let drawn = 0;
  const signIn = new SignIn(
    { chainId: PLACE.chainId, publicUrl: deps.publicUrl, contractsSign: false, key: new Uint8Array(32).fill(7) },
    {
      store: settingsStore,
      clock,
      isSigned: (worker, text, signature) => check.text(worker, text, signature),
      random: deps.random ?? ((bytes) => new Uint8Array(bytes).fill(++drawn)),
    },
  );
  const alerts = scope.use(
    await Alerts.open(
      { settings: noAlertSettings, publicUrl: deps.publicUrl ?? "https://pool.example.com", poolName: "Example Pool" },
      {
        store: scope.use(new PgAlertStore(connection, { clock })),
        logger: silentLogger,
        clock,
        isOnline: () => false,
        watch: async () => undefined,
      },
    ),
  );
  const labels = new RigLabels(settingsStore, clock);
  await labels.load();
  const payouts = memoryPayouts(clock);
  const worker = new WorkerSettings({
    clock,
    labels,
    register,
    alerts,
    join: { open: true, registered: true, passwordNeeded: false },
    rigsOf: async (address) => new Map(deps.rigsOf(address).map((rig) => [rig, clock.now()])),
    sessionsOf: (address) => signIn.count(address),
    payouts,
    append: (events) => store.append(events),
  });
  return {
    signIn,
    worker,
    labels,
    alerts,
    register,
    payouts,
    [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
  };
}
