import { useQuery, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { signInApi } from "../../api/settings.ts";
import { shortHex } from "../../format/address.ts";
import { words } from "../../text-settings.tsx";
import { Loaded } from "../../ui/parts.tsx";
import { Until } from "../../ui/time.tsx";
import { Sign } from "./forms.tsx";

/** Half of the time for which a text is good: whoever copies it has the other half to sign it. */
const ANEW_MS = 5 * 60_000;

/** A text to sign, and who may come in with it. */
export function SignIn({ worker, other }: { readonly worker: string; readonly other: string | null }): ReactNode {
  const client = useQueryClient();
  const asked = useQuery({
    queryKey: ["sign-in", worker],
    queryFn: () => signInApi.text(worker),
    staleTime: ANEW_MS,
    gcTime: 0,
    retry: false,
    refetchOnWindowFocus: false,
  });
  return (
    <div className="section">
      <p className="line mt-4!">{words.signIn.line}</p>
      <p className="mb-5 max-w-prose text-soft">
        {words.signIn.why} {other !== null && words.signIn.other(shortHex(other))}
      </p>
      <Loaded of={asked} lines={3}>
        {({ message, chainId, expiresAt }) => (
          <>
            <Sign
              worker={worker}
              what={{ text: message, chainId }}
              wallet={words.signIn.wallet}
              action={words.signIn.enter}
              onSigned={async (signature) => {
                try {
                  client.setQueryData(["session"], await signInApi.enter(message, signature));
                } catch (error) {
                  // A text that was used, or is too old, is of no more use.
                  await asked.refetch();
                  throw error;
                }
              }}
            />
            <p className="mt-4 small text-soft">
              {words.signIn.textUntil(<Until at={expiresAt} />)}.{" "}
              <button type="button" className="link" onClick={() => void asked.refetch()}>
                {words.signIn.anew}
              </button>
            </p>
          </>
        )}
      </Loaded>
    </div>
  );
}
