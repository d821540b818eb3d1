// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A token that does what tokens should not, as it is told.
contract Token {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Moved(address from, address to, uint256 value);

    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    uint8 public decimals = 18;
    string public symbol;
    /// 0 honest, 1 answers false, 2 takes a fee, 3 reverts, 4 allows nothing, 5 allows only from zero, 6 allowing reverts,
    /// 7 indexes nothing of its event, 8 has an event of its own
    uint256 public mode;

    constructor(string memory symbol_) {
        symbol = symbol_;
    }

    function set(uint256 mode_, uint8 decimals_) external {
        mode = mode_;
        decimals = decimals_;
    }

    function give(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function take(address from) external {
        balanceOf[from] = 0;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        if (mode == 4) return true;
        require(mode != 6);
        require(mode != 5 || amount == 0 || allowance[msg.sender][spender] == 0);
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        return move(from, to, amount);
    }

    function move(address from, address to, uint256 amount) private returns (bool) {
        require(mode != 3, "paused");
        if (mode == 1) return false;
        uint256 arrives = mode == 2 ? amount - amount / 100 : amount;
        balanceOf[from] -= amount;
        balanceOf[to] += arrives;
        if (mode == 7) {
            bytes memory words = abi.encode(from, to, arrives);
            bytes32 topic = Transfer.selector;
            assembly {
                log1(add(words, 32), 96, topic)
            }
        } else if (mode == 8) emit Moved(from, to, arrives);
        else emit Transfer(from, to, arrives);
        return true;
    }
}

/// A pool of Uniswap V3 as far as its price goes: the same tick at all times.
contract Pool {
    address public token0;
    address public token1;
    int56 tick;
    uint32 remembers;

    constructor(address token0_, address token1_, int56 tick_, uint32 remembers_) {
        token0 = token0_;
        token1 = token1_;
        tick = tick_;
        remembers = remembers_;
    }

    function observe(uint32[] calldata secondsAgos) external view returns (int56[] memory ticks, uint160[] memory others) {
        ticks = new int56[](secondsAgos.length);
        others = new uint160[](secondsAgos.length);
        for (uint256 i = 0; i < secondsAgos.length; ++i) {
            require(secondsAgos[i] <= remembers, "OLD");
            ticks[i] = tick * int56(uint56(block.timestamp - secondsAgos[i]));
        }
    }
}

/// A price feed as Chainlink's proxies are.
contract Feed {
    uint8 public decimals;
    int256 answer;
    uint256 updatedAt;

    constructor(uint8 decimals_, int256 answer_, uint256 updatedAt_) {
        decimals = decimals_;
        answer = answer_;
        updatedAt = updatedAt_;
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return (18446744073709551617, answer, updatedAt, updatedAt, 18446744073709551617);
    }
}

/// Payees that nobody wants to meet.
contract Refuses {
    receive() external payable {
        revert("no");
    }
}

contract Burns {
    receive() external payable {
        while (true) {}
    }
}

contract Bombs {
    receive() external payable {
        assembly {
            revert(0, 100000)
        }
    }
}

/// And one that is glad of it.
contract Takes {
    receive() external payable {}
}

/// A multisig as far as its transactions go: several calls in one, all of them or none. It asks nobody for a signature.
contract Multisig {
    struct Call {
        address to;
        uint256 value;
        bytes data;
    }

    receive() external payable {}

    function execute(Call[] calldata calls) external {
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool done, ) = calls[i].to.call{value: calls[i].value}(calls[i].data);
            require(done);
        }
    }
}

interface Batch {
    function payEth(bytes32 batch, uint256[] calldata payments) external payable;
}

/// Answers a payment with a batch of its own under the same id.
contract Reenters {
    bytes32 batch;

    constructor(bytes32 batch_) {
        batch = batch_;
    }

    receive() external payable {
        uint256[] memory none = new uint256[](0);
        Batch(msg.sender).payEth(batch, none);
    }
}
