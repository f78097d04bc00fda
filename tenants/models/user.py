"""People who sign in; the same person may be a member of several tenants."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower

from tenants.models.fields import LanguageField, TimeZoneField


class UserManager(BaseUserManager["User"]):
    """Users by e-mail address, whatever its case."""

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        """Addresses are stored in lower case, so that one person cannot have two accounts."""
        return (email or "").strip().lower()

    def get_by_natural_key(self, username: str | None) -> User:
        """The user with this address; raises User.DoesNotExist."""
        return self.get(email=self.normalize_email(username))

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A saved user; without a password signing in by password is impossible."""
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """A person. What the person may do follows from memberships alone."""

    email = models.EmailField(max_length=254)
    name = models.CharField(max_length=120, blank=True)
    language = LanguageField()
    time_zone = TimeZoneField(default="UTC")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["email"]
        constraints = [
            models.UniqueConstraint(fields=["email"], name="tenants_user_email_unique"),
            models.CheckConstraint(
                condition=models.Q(email=Lower("email")) & ~models.Q(email=""),
                name="tenants_user_email_lower_case",
            ),
        ]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        """Brings the address into the stored form before validation of uniqueness."""
        super().clean()
        self.email = User.objects.normalize_email(self.email)

    def get_full_name(self) -> str:
        """How the person is addressed."""
        return self.name or self.email
