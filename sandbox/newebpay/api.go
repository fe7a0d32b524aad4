package newebpay

import (
	"net/http"
	"regexp"
	"slices"

	"pay.taipei/gateway/sandbox/internal/desk"
)

var (
	numberForm = regexp.MustCompile(`^[A-Za-z0-9_]{1,30}$`)
	tradeForm  = regexp.MustCompile(`^[0-9]{1,17}$`)
	amountForm = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)
)

var (
	errLocked  = &refusal{"TRA10071", "因查無交易資料次數已達上限，已鎖定交易查詢功能，請待四小時解鎖"}
	errUnknown = &refusal{"TRA10021", "查無該筆交易或該筆交易不為信用卡交易"}
	errAmount  = &refusal{"TRA10003", "金額必須為數字"}
	errShop    = &refusal{"TRA10001", "商店資料取得失敗"}
	errState   = &refusal{"TRA10035", "該交易非授權成功或已請款完成狀態，請確認"}
)

// incomplete names the field that is missing, not known, repeated or of another version.
func incomplete(what string) *refusal {
	return &refusal{"MEM40013", "必填欄位資料不齊全：" + what}
}

// refuse answers with an empty list where a result would be.
func refuse(w http.ResponseWriter, no *refusal) {
	desk.WriteJSON(w, http.StatusOK, object{{"Status", no.code}, {"Message", no.why}, {"Result", []string{}}})
}

func succeed(w http.ResponseWriter, message string, told object) {
	desk.WriteJSON(w, http.StatusOK, object{{"Status", "SUCCESS"}, {"Message", message}, {"Result", told}})
}

// exactly wants all of the names and none but those and the optional ones.
func exactly(f map[string]string, names []string, optional ...string) *refusal {
	for _, name := range names {
		if _, sent := f[name]; !sent {
			return incomplete(name)
		}
	}
	for name := range f {
		if !slices.Contains(names, name) && !slices.Contains(optional, name) {
			return incomplete(name)
		}
	}
	return nil
}

// common checks what every question has.
func (b *double) common(f map[string]string, version string) *refusal {
	switch {
	case f["Version"] != version:
		return incomplete("Version")
	case f["RespondType"] != "JSON":
		return &refusal{"TRA10036", "RespondType 欄位資料格式錯誤"}
	case !fresh(f["TimeStamp"], b.desk.Now()):
		return &refusal{"TRA40014", "TimeStamp 欄位錯誤"}
	case !amountForm.MatchString(f["Amt"]):
		return errAmount
	}
	return nil
}
