import { BadValue, type ValueKind } from "@openpool/base";
import { addressProblemText, isAddressProblem, parseAddress, type WorkerAddress } from "@openpool/protocol";

/** An option or argument that is an Ethereum address, whosever it is. */
export const addressValue: ValueKind<WorkerAddress> = {
  placeholder: "0xADDRESS",
  allowed: "an Ethereum address",
  parse(text) {
    const address = parseAddress(text);
    return isAddressProblem(address) ? new BadValue(addressProblemText[address]) : address;
  },
  format: (address) => address,
};
