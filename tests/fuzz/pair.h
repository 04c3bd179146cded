/* A key with its certificate, which was made for these targets and is used nowhere else. */
#ifndef CERTSYNC_FUZZ_PAIR_H
#define CERTSYNC_FUZZ_PAIR_H

static const char fuzz_pair[] = "-----BEGIN PRIVATE KEY-----\n"
				"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxa6Ilkts7cSFcbaq\n"
				"g83KiVfXeeEQXr8Ua1SApEK4jl+hRANCAARE6JjKQS7aNC9jFtrJG378XnF1TRXD\n"
				"nPOy13NnV0fMeQrlfGUNvEX8FXdnXgiqRQDyHVN75NppA52fizN2Sapk\n"
				"-----END PRIVATE KEY-----\n"
				"-----BEGIN CERTIFICATE-----\n"
				"MIIBpDCCAUqgAwIBAgIUZ4SUSTKbpHmDslRfdLtbMVEFVIgwCgYIKoZIzj0EAwIw\n"
				"GTEXMBUGA1UEAwwObWFpbC5kb21haW4ucGwwIBcNMjYxMTIyMjMzMjE1WhgPMjEy\n"
				"NjEwMjkyMzMyMTVaMBkxFzAVBgNVBAMMDm1haWwuZG9tYWluLnBsMFkwEwYHKoZI\n"
				"zj0CAQYIKoZIzj0DAQcDQgAEROiYykEu2jQvYxbayRt+/F5xdU0Vw5zzstdzZ1dH\n"
				"zHkK5XxlDbxF/BV3Z14IqkUA8h1Te+TaaQOdn4szdkmqZKNuMGwwHQYDVR0OBBYE\n"
				"FNAFRWOzjAhh6sgQ30GOL0st+4e8MB8GA1UdIwQYMBaAFNAFRWOzjAhh6sgQ30GO\n"
				"L0st+4e8MA8GA1UdEwEB/wQFMAMBAf8wGQYDVR0RBBIwEIIObWFpbC5kb21haW4u\n"
				"cGwwCgYIKoZIzj0EAwIDSAAwRQIhAL16KCB/o34fHsJX6fUGINi5IeS5nEorGeWT\n"
				"5a3Iq98wAiAZV4iUFyCP+e/0RgggFgholnjJC8X52pc4ss6cU08a0Q==\n"
				"-----END CERTIFICATE-----\n";

#endif
