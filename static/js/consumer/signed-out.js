// After signing out: this device forgets what it kept for times without a connection.

import { forget } from "./keeping.js";

forget();
