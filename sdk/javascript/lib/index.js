// The parts of the SDK that authors use. The protocol without a socket is Connection.
export { check } from "./check.js";
export { Connection } from "./connection.js";
export { ControlFile } from "./control.js";
export { Address, Event, Header, NotThere, octets, Recipient, Session, text, Transaction } from "./event.js";
export { declined, deny, denyDisconnect, denysoft, denysoftDisconnect, done, ok, Verdict } from "./verdict.js";
export { ProtocolError } from "./wire.js";
export { Worker } from "./worker.js";
