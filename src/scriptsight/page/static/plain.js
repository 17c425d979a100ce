// What pages need that have nothing else to do.
import { explainKeys } from "./keys.js";

explainKeys();
