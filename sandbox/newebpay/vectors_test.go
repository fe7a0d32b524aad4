package newebpay_test

import (
	"testing"

	"pay.taipei/gateway/sandbox/newebpay"
)

// The manual's sample shop, the older sample, that of the periodic manual, and a community test's.
const (
	manualKey, manualIV = "Fs5cX1TGqYM2PpdbE14a9H83YQSQF5jn", "C6AcmfqJILwgnhIP"
	olderKey, olderIV   = "12345678901234567890123456789012", "1234567890123456"
	periodKey, periodIV = "IaWudQJsuOT994cpHRWzv7Ge67yC1cE3", "C1dLm3nxZRVlmBSP"
	dummyKey, dummyIV   = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAA"
)

func TestPublishedEnvelopes(t *testing.T) {
	for _, v := range []struct {
		name, key, iv string
		wide          bool
		plain, sealed string
		sha           string
	}{
		{"newebpay-mpg", manualKey, manualIV, false,
			"MerchantID=MS127874575&RespondType=String&TimeStamp=1695795410&Version=2.0&MerchantOrderNo=Vanespl_ec_1695795410&Amt=30&ItemDesc=test&NotifyURL=https%3A%2F%2Fwebhook.site%2Fd4db5ad1-2278-466a-9d66-78585c0dbadb",
			"f79eac33c4f3245d58f17b544c5d38b09457a6d77e77bae6f10fcc7236fe153ccef1a80001c0746afc063a7570f80ad970d8a32c72332c9ec5547410188007876bdca2bafa52d07d31b6b183f2204d6e4feee6d245e286ab198cf95422ad5843c7696fc943cbb65979ad207607d4b5d97dac4a90ccd5e7a37adb7d7062e838be09d94e8c5dfa145c048e17feabe58c2e310792f0f50f5af32961ffb07ff6649ae1021ad558242551de5f09316e3182e198775e5d1ad5b66a70be290004de750fa85d86b0c2f087b40005d89e048be2ab6fd83f1c522494c093426a10a1f73fe4",
			"84E4D9F96537E029F8450BE1E759080F9AF6995921B7F6F9AAFDDD2C36E7B287"},
		{"newebpay-old", olderKey, olderIV, false,
			"MerchantID=3430112&RespondType=JSON&TimeStamp=1485232229&Version=1.4&MerchantOrderNo=S_1485232229&Amt=40&ItemDesc=UnitTest",
			"ff91c8aa01379e4de621a44e5f11f72e4d25bdb1a18242db6cef9ef07d80b0165e476fd1d9acaa53170272c82d122961e1a0700a7427cfa1cf90db7f6d6593bbc93102a4d4b9b66d9974c13c31a7ab4bba1d4e0790f0cbbbd7ad64c6d3c8012a601ceaa808bff70f94a8efa5a4f984b9d41304ffd879612177c622f75f4214fa",
			"EA0A6CC37F40C1EA5692E7CBB8AE097653DF3E91365E6A9CD7E91312413C7BB8"},
		{"newebpay-notify", manualKey, manualIV, false,
			"Status=SUCCESS&Message=%E6%8E%88%E6%AC%8A%E6%88%90%E5%8A%9F&MerchantID=MS127874575&Amt=30&TradeNo=23092714215835071&MerchantOrderNo=Vanespl_ec_1695795668&RespondType=String&IP=123.51.237.115&EscrowBank=HNCB&PaymentType=CREDIT&RespondCode=00&Auth=115468&Card6No=400022&Card4No=1111&Exp=2609&AuthBank=KGI&TokenUseStatus=0&InstFirst=0&InstEach=0&Inst=0&ECI=&PayTime=2023-09-27+14%3A21%3A59&PaymentMethod=CREDIT",
			"ee11d1501e6dc8433c75988258f2343d11f4d0a423be672e8e02aaf373c53c2363aeffdb4992579693277359b3e449ebe644d2075fdfbc10150b1c40e7d24cb215febefdb85b16a5cde449f6b06c58a5510d31e8d34c95284d459ae4b52afc1509c2800976a5c0b99ef24cfd28a2dfc8004215a0c98a1d3c77707773c2f2132f9a9a4ce3475cb888c2ad372485971876f8e2fec0589927544c3463d30c785c2d3bd947c06c8c33cf43e131f57939e1f7e3b3d8c3f08a84f34ef1a67a08efe177f1e663ecc6bedc7f82640a1ced807b548633cfa72d060864271ec79854ee2f5a170aa902000e7c61d1269165de330fce7d10663d1668c711571776365bfdcd7ddc915dcb90d31a9f27af9b79a443ca8302e508b0dbaac817d44cfc44247ae613075dde4ac960f1bdff4173b915e4344bc4567bd32e86be7d796e6d9b9cf20476e4996e98ccc315f1ed03a34139f936797d971f2a3f90bc18f8a155a290bcbcf04f4277171c305bf554f5cba243154b30082748a81f2e5aa432ef9950cc9668cd4330ef7c37537a6dcb5e6ef01b4eca9705e4b097cf6913ee96e81d0389e5f775",
			"C80876AEBAC0036268C0E240E5BFF69C0470DE9606EEE083C5C8DD64FDB3347A"},
		{"newebpay-period-alter", periodKey, periodIV, true,
			`{"Status":"SUCCESS","Message":"\u8a72\u5b9a\u671f\u5b9a\u984d\u59d4\u8a17\u55ae\u66ab\u505c\u6210\u529f","Result":{"MerOrderNo":"myorder1700033460","PeriodNo":"P231115153213aMDNWZ","AlterType":"suspend"}}`,
			"e88f62186b6d5dd96a9f6dbc57a84547957e8cb8534d81cbed42dcffa93783a32940ba6716e1ebb85f3d92fbcf0497897d312c0181e878b2d1be5cafe7d7c2f81ab3327ed1b4529ced6c5c4c6d07c52e9943e9ec8f0735e8c9329c23789e3927e540f8f2a56517ddf37d6ee7196d41e0139d173616ccf964b40764109f8647851cf17a5eb3d75eb0fe017d45790e528528c59adfe84cf2518dbf7cf71776bed9768ca6a74103332dbfb7d0356fbeb230d9bcda35763ca6eaaad51033ab6f35195780ea6ac3f584adc78940e9a053858b657461a94a20942fd559f54f9843433a", ""},
		{"newebpay-elct-dummy", dummyKey, dummyIV, true, "dummy", "5d54df78166ea169cb090290bbca628a1231d591bcda0ca23719c2d468505afd", ""},
	} {
		if sealed, err := newebpay.Seal(v.key, v.iv, v.plain, v.wide); sealed != v.sealed || err != nil {
			t.Errorf("%s: %s, %v", v.name, sealed, err)
		}
		sha, _, _, err := newebpay.Sums(v.key, v.iv, v.sealed, "", "", "", "")
		if v.sha != "" && (sha != v.sha || err != nil) {
			t.Errorf("%s: TradeSha %s, %v", v.name, sha, err)
		}
		if plain, ok := newebpay.Opened(v.key, v.iv, v.sealed); ok == v.wide || (ok && plain != v.plain) {
			t.Errorf("%s: opened as a shop's: %q, %v", v.name, plain, ok)
		}
		// The tests' own way, by which the gateway's side is played, is held against the same vectors.
		if plain, pad := unseal(t, v.key, v.iv, v.sealed); plain != v.plain || (v.wide && pad <= 16) {
			t.Errorf("%s: %q, %d", v.name, plain, pad)
		}
	}
}

func TestPublishedChecks(t *testing.T) {
	for _, v := range []struct{ name, key, iv, amount, payee, number, trade, value, code string }{
		{"newebpay-cc-query", manualKey, manualIV, "30", "MS127874575", "Vanespl_ec_1695795668", "23092714215835071", "", "79C5227AF869AE4F25FDF4E22B928D5B52E415D9905EC6912D7807E18C3FFACA"},
		{"newebpay-cc-omnipay", manualKey, manualIV, "10", "MS127874575", "MyCompanyOrder_1695795410", "21120214151152468", "59D3DEBBE4973B3AC2B102603DB97F0F9BE55F46B0F29FE84EF56FBCA3EBBC16", "3BBBD18B6C2446E35764D587168997BF719FA72E00C569D2A55E45D67149EC71"},
		{"newebpay-cv-onlinemad", "abcdefg", "1234567", "100", "1422967", "840f022", "", "379BF1DB8948EE79D8ED77A1EBCB2F57B0FD45D0376B6DA9CF85F539CEF1C127", ""},
	} {
		_, value, code, err := newebpay.Sums(v.key, v.iv, "", v.amount, v.payee, v.number, v.trade)
		if err != nil || (v.value != "" && value != v.value) || (v.code != "" && code != v.code) {
			t.Errorf("%s: CheckValue %s, CheckCode %s, %v", v.name, value, code, err)
		}
	}
}
