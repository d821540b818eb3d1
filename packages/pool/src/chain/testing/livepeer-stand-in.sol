// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// Says what Livepeer's contracts say when a ticket is redeemed or fees are withdrawn, with numbers that a test sets. It is
/// controller, ticket broker, bonding manager and rounds manager in one.
contract LivepeerStandIn {
    event WinningTicketTransfer(address indexed sender, address indexed recipient, uint256 amount);
    event WinningTicketRedeemed(
        address indexed sender,
        address indexed recipient,
        uint256 faceValue,
        uint256 winProb,
        uint256 senderNonce,
        uint256 recipientRand,
        bytes auxData
    );
    event WithdrawFees(address indexed delegator, address recipient, uint256 amount);

    uint256 public currentRound = 100;
    uint256 feeShare;
    uint256 ownStake;
    uint256 totalStake;
    uint256 fees;
    uint256 lastClaimRound;

    function getContract(bytes32) external view returns (address) {
        return address(this);
    }

    function set(uint256 feeShare_, uint256 ownStake_, uint256 totalStake_, uint256 lastClaimRound_) external {
        feeShare = feeShare_;
        ownStake = ownStake_;
        totalStake = totalStake_;
        lastClaimRound = lastClaimRound_;
    }

    function redeem(address sender, address recipient, uint256 faceValue, uint256 paid) external {
        if (paid > 0) {
            emit WinningTicketTransfer(sender, recipient, paid);
            fees += paid;
        }
        emit WinningTicketRedeemed(sender, recipient, faceValue, 1, 2, 3, "");
    }

    function withdrawFees(address delegator, address to, uint256 amount) external {
        fees -= amount;
        emit WithdrawFees(delegator, to, amount);
    }

    function getTranscoder(address)
        external
        view
        returns (uint256, uint256, uint256, uint256, uint256, uint256, uint256, uint256, uint256, uint256)
    {
        return (currentRound, 0, feeShare, 0, 0, 0, 0, 0, 0, 0);
    }

    function getTranscoderEarningsPoolForRound(address, uint256)
        external
        view
        returns (uint256, uint256, uint256, uint256, uint256)
    {
        return (totalStake, 0, feeShare, 0, 0);
    }

    function getDelegator(address)
        external
        view
        returns (uint256, uint256, address, uint256, uint256, uint256, uint256)
    {
        return (ownStake, fees, address(0), 0, 0, lastClaimRound, 0);
    }

    function transcoderTotalStake(address) external view returns (uint256) {
        return totalStake;
    }

    function pendingStake(address, uint256) external view returns (uint256) {
        return ownStake;
    }

    function pendingFees(address, uint256) external view returns (uint256) {
        return fees;
    }
}

/// Where the contracts of a chain are, each by its name.
contract ControllerStandIn {
    mapping(bytes32 => address) public getContract;

    function setContract(string calldata name, address at) external {
        getContract[keccak256(bytes(name))] = at;
    }
}
