import { bytesToHex, getAddress, type Hex, keccak256, recoverMessageAddress, stringToBytes } from "viem";
import { expect, test } from "vitest";
import { introduceStranger } from "./stranger.ts";

/** Whose signature of its own address that is, to who asks as an orchestrator does. */
const signerOf = (address: string, signature: Hex): Promise<string> =>
  recoverMessageAddress({ message: { raw: keccak256(stringToBytes(address)) }, signature });

test("a stranger signs its address as gateways on chain do, with a key of its own each time", async () => {
  // As go-livepeer signs it.
  const known = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";
  const signature =
    "0x4e166c2cd389f60c02051be1252202fc8a9d9f81b34ace389523a47cb5e70d265bcff71ffa9bda088fb65f04930ca11aa5818b5c688e0d130a32f3a03e9254c91c";
  expect(await signerOf(known, signature)).toBe(known);

  const [one, other] = [await introduceStranger(), await introduceStranger()];
  const address = getAddress(bytesToHex(one.address));
  expect(await signerOf(address, bytesToHex(one.sig))).toBe(address);
  expect(one.address).not.toEqual(other.address);
});
