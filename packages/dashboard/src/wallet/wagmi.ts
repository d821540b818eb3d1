import {
  type Config,
  connect,
  type Connector,
  createConfig,
  getConnectors,
  http,
  injected,
  signMessage,
  signTypedData,
  switchChain,
  watchConnectors,
} from "@wagmi/core";
import { type Chain, isAddressEqual, type TypedDataDefinition } from "viem";
import type { ToSign, Wallet } from "./types.ts";

/* Everything of wagmi, and so a file of its own: it is loaded with a page that signs, and with no other. */

const configs = new Map<number, Config>();

/** For the chain that the pool pays on; a wallet may be on another. Nothing is read from the chain, and nothing remembered. */
function configOf(chainId: number): Config {
  const known = configs.get(chainId);
  if (known !== undefined) return known;
  const chain: Chain = {
    id: chainId,
    name: `Chain ${chainId}`,
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [] } },
  };
  const config = createConfig({
    chains: [chain],
    transports: { [chainId]: http(location.origin) },
    // A wallet that is older than EIP-6963 stands in `window.ethereum`; the others make themselves known.
    connectors: [injected()],
    storage: null,
  });
  configs.set(chainId, config);
  return config;
}

const isLegacy = ({ id }: Connector): boolean => id === "injected";

/** Those that are there; the one without a name of its own only where no other is. */
async function walletsOf(connectors: readonly Connector[]): Promise<readonly Wallet[]> {
  const there = await Promise.all(
    connectors.map(async (one) => ((await one.getProvider().catch(() => undefined)) === undefined ? [] : [one])),
  );
  const found = there.flat();
  const named = found.filter((one) => !isLegacy(one));
  return (named.length > 0 ? named : found).map((one) => ({
    id: one.uid,
    name: isLegacy(one) ? "" : one.name.slice(0, 40),
  }));
}

/** Tells the wallets of this browser now and whenever there are others; returns how to stop. */
export function watchWallets(chainId: number, tell: (wallets: readonly Wallet[]) => void): () => void {
  const config = configOf(chainId);
  let asked = 0;
  const look = (): void => {
    const turn = ++asked;
    void walletsOf(getConnectors(config)).then((wallets) => {
      if (turn === asked) tell(wallets);
    });
  };
  const stop = watchConnectors(config, { onChange: look });
  look();
  return () => {
    asked++;
    stop();
  };
}

/** Asks a wallet for an address, and then for its signature. `other`: it offers none but this. */
export async function signWith(
  wallet: Wallet,
  worker: `0x${string}`,
  what: ToSign,
  other: (offered: string) => Error,
): Promise<string> {
  const config = configOf(what.chainId);
  const connector = getConnectors(config).find(({ uid }) => uid === wallet.id);
  if (connector === undefined) throw other("");
  const open = config.state.connections.get(connector.uid);
  const { accounts } = open ?? (await connect(config, { connector }));
  const account = accounts.find((one) => isAddressEqual(one, worker));
  if (account === undefined) throw other(accounts[0]?.toLowerCase() ?? "");
  if ("text" in what) return signMessage(config, { account, connector, message: what.text });
  if ((await connector.getChainId()) !== what.chainId) await switchChain(config, { connector, chainId: what.chainId });
  // The pool wrote it, as a document that any wallet signs; the types of viem want to know which.
  const document = what.document as TypedDataDefinition;
  return signTypedData(config, { account, connector, ...document });
}
