package esun_test

import (
	"testing"

	"pay.taipei/gateway/sandbox/esun"
)

// The manuals' own samples. Those of the query and of the result with instalments are as the project re-verified them.
func TestVectors(t *testing.T) {
	const key = "WEGSC0Q7BAJGTQYL8BV8KRQRZXH6VK0B"
	const u = `"U":"https://220.128.166.170/ACQTrans/test/print.jsp","MID":"8089000016",`
	const paid = "RC=00,MID=8080000002,ONO=1456296932846,LTD=20160224,LTT=150228,RRN=506055000001,AIR=702715,AN=552199******1856"
	for data, want := range map[string]string{
		`{"ONO":"20160518100237",` + u + `"TA":"879","TID":"EC000001"}`:                          "003f4aa7ee5607c29eee3b67d2943e83a7c4ddbf1b0b28175b83df4ca2747101",
		`{"ONO":"20160518101607",` + u + `"IC":"0100106","TA":"709","TID":"EC000002"}`:           "c8c420088a8600c467a75d8098a07ec9c000662e51e54f655d2c83f57c718541",
		`{"ONO":"20160518102002",` + u + `"BPF":"Y","TA":"225","TID":"EC000001"}`:                "374b4870a2cbbc8367eff3881455fce89b9c1bca895f5179a5a16e488f0bfb36",
		`{"ONO":"20160518102121",` + u + `"BPF":"Y","IC":"0100106","TA":"288","TID":"EC000002"}`: "e2d6079a5623815c09f5108789c867beb532a630756e12d27ecb1ecc3909dffe",
		`{"ONO":"1452421625511","MID":"8089000016"}`:                                             "78fb4d1998aefb4c89a18cd0fdbb2207a656caabd26a89e5405920a6fa21ca6a",
		`{"ONO":"1462519794752","MID":"8089000016"}`:                                             "6bccb41f26cd316da4c5926b4c4f8f709f28a4950fd07ba19966b4521d3603b4",
	} {
		if got := esun.RequestMAC(data, key); got != want {
			t.Errorf("mac of %s: %s, want %s", data, got, want)
		}
	}
	for data, want := range map[string]string{
		paid: "fe58d597b3314776d600887c513bbf224a1d4be3d98b0f076be81d32086ec3cb",
		paid + ",ITA=300.00,IP=3,IFPA=100.00,IPA=100.00":                     "51e649ad1e47551da41ea6eeb183f57ebf888a7bf81e9420028044c70a88880c",
		paid + ",BRP=0,BB=0,BRA=0.00":                                        "76584fb23a4cffd072ffdde1b9a4d30770559bca7e7d3da1b92c603991eafad5",
		paid + ",ITA=300.00,IP=3,IFPA=100.00,IPA=100.00,BRP=0,BB=0,BRA=0.00": "169d4d8f59112243b8f344f2eaccf950f189e862306cc7cff636959cb742b56b",
	} {
		if got := esun.ResultMAC(data, key); got != want {
			t.Errorf("MACD of %s: %s, want %s", data, got, want)
		}
	}
}
