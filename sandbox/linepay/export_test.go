package linepay

// Signed is what the document's vectors pin.
var Signed = signed
