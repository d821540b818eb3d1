// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Pays many in one transaction, so that nobody can stop the others from being paid.
/// @notice It has no owner and keeps nothing: what is not paid out goes back to the caller in the same transaction.
/// Anybody may use it; a batch can be paid once for each caller.
///
/// A payment is one word: the address in the upper 20 bytes, the amount in the lower 12 (up to 7.9e28).
contract BatchPayer {
    /// @notice Payment number `index` (from 0) of a batch was not made: its money stayed with the payer.
    event Unpaid(address indexed payer, bytes32 indexed batch, uint256 index);
    /// @notice A batch is done; all but `unpaid` of its payments were made.
    event Paid(address indexed payer, bytes32 indexed batch, uint256 unpaid);

    /// The batch of this payer was paid before.
    error PaidBefore();
    /// The payments add up to something else than what was sent along.
    error WrongSum();
    /// Less gas is left than the rest may need; nothing was paid.
    error TooLittleGas();
    /// The payer takes no money back.
    error NoRefund();

    /// What a payee's own code may use. A plain wallet needs none, a contract wallet that notes what it got some.
    uint256 private constant PAYEE_GAS = 30_000;
    /// The same for a token's transfer, with its checks.
    uint256 private constant TOKEN_GAS = 250_000;
    /// What a call itself costs at most (a cold account, value, an account to be made), and the events.
    uint256 private constant CALL_GAS = 45_000;

    mapping(address payer => mapping(bytes32 batch => bool)) private paid;

    /// @notice Whether `payer` has paid a batch.
    function isPaid(address payer, bytes32 batch) external view returns (bool) {
        return paid[payer][batch];
    }

    /// @notice Pays ETH. The value sent along must be the exact sum of the payments.
    function payEth(bytes32 batch, uint256[] calldata payments) external payable {
        begin(batch);
        uint256 sum = 0;
        uint256 refund = 0;
        uint256 unpaid = 0;
        uint256 count = payments.length;
        for (uint256 i = 0; i < count; ++i) {
            uint256 payment = payments[i];
            uint256 amount = uint96(payment);
            // Cannot overflow: a calldata array of 96-bit amounts is far too short for that.
            unchecked {
                sum += amount;
            }
            // Money that others may have in flight here (a payee that calls us back) is out of reach.
            if (sum > msg.value) revert WrongSum();
            // A call that gets less than it was promised would make it look as if the payee had failed.
            if (gasleft() < PAYEE_GAS + PAYEE_GAS / 32 + CALL_GAS) revert TooLittleGas();
            bool done;
            assembly ("memory-safe") {
                // No answer is copied: a payee cannot make us pay for a long one.
                done := call(PAYEE_GAS, shr(96, payment), amount, 0, 0, 0, 0)
            }
            if (!done) {
                unchecked {
                    refund += amount;
                    ++unpaid;
                }
                // The payer is named: a payee that calls us back with the same batch id speaks for itself only.
                emit Unpaid(msg.sender, batch, i);
            }
        }
        if (sum != msg.value) revert WrongSum();
        if (refund > 0) {
            (bool refunded, ) = msg.sender.call{value: refund}("");
            if (!refunded) revert NoRefund();
        }
        emit Paid(msg.sender, batch, unpaid);
    }

    /// @notice Pays an ERC-20 token out of the caller's own balance; the caller must have allowed the sum.
    function payToken(bytes32 batch, address token, uint256[] calldata payments) external {
        begin(batch);
        uint256 unpaid = 0;
        uint256 count = payments.length;
        for (uint256 i = 0; i < count; ++i) {
            uint256 payment = payments[i];
            if (gasleft() < TOKEN_GAS + TOKEN_GAS / 32 + CALL_GAS) revert TooLittleGas();
            // A call to ourselves, so that a transfer that turns out wrong can be undone by itself.
            bytes memory transfer = abi.encodeCall(
                this.transferExactly,
                (token, msg.sender, address(uint160(payment >> 96)), uint96(payment))
            );
            bool done;
            assembly ("memory-safe") {
                done := call(TOKEN_GAS, address(), 0, add(transfer, 32), mload(transfer), 0, 0)
            }
            if (!done) {
                unchecked {
                    ++unpaid;
                }
                emit Unpaid(msg.sender, batch, i);
            }
        }
        emit Paid(msg.sender, batch, unpaid);
    }

    /// @notice Only for this contract itself. Reverts unless `to` has got exactly `amount` more.
    function transferExactly(address token, address from, address to, uint256 amount) external {
        require(msg.sender == address(this));
        uint256 before = IERC20(token).balanceOf(to);
        (bool done, bytes memory answer) = token.call(abi.encodeCall(IERC20.transferFrom, (from, to, amount)));
        // Old tokens answer nothing; what they did shows in the balance.
        require(done && (answer.length == 0 || abi.decode(answer, (bool))));
        require(IERC20(token).balanceOf(to) == before + amount);
    }

    function begin(bytes32 batch) private {
        if (paid[msg.sender][batch]) revert PaidBefore();
        paid[msg.sender][batch] = true;
    }
}

interface IERC20 {
    function balanceOf(address owner) external view returns (uint256);

    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}
