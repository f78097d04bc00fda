/** What every page of the portal does by itself: menus, toasts, dialogs, lists. */

import "./dialogs.js";
import "./lists.js";
import "./menus.js";
import "./palette.js";
import "./toasts.js";
