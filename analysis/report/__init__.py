"""One page that opens in a browser without a network: what runs gave, how sure that is, what they were."""
